"""Replays the log of events: a `Step` says what was done, and a `Ledger` refuses what it does not explain.

The log is in the order of `seq`. That is the order of each job's transitions, and that in which the slots of a key are
left and taken: so it shows at no instant more jobs with a slot than there were.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from distriqueue.core.job import Priority
from distriqueue.core.messages import Answer, Dispatch, Report, ReportAnswer, ReportStatus
from distriqueue.core.states import INITIAL, TERMINAL, Status, is_legal
from distriqueue.store.reports import is_claim
from tests.integration.lives.ground import Seen

WEBHOOK: Final = "distriqueue.webhook"
HOLDING: Final = frozenset({Status.PENDING, Status.QUEUED, Status.RUNNING})
LANES: Final = list(Priority)
MAY_FOLLOW: Final = {
    ReportStatus.COMPLETED: {Status.COMPLETED},
    ReportStatus.FAILED: {Status.FAILED, Status.RETRYING},
    ReportStatus.TIMEOUT: {Status.TIMEOUT, Status.RETRYING},
    ReportStatus.CANCELLED: {Status.CANCELLED},
    ReportStatus.RELEASED: {Status.PENDING, Status.CANCELLED},
}
Attempt = tuple[UUID, int]


class Broken(AssertionError):
    """Something that must hold does not."""


def must(holds: object, what: str) -> None:
    """Refuse what does not hold."""
    if not holds:
        raise Broken(what)


@dataclass(slots=True)
class Step:
    """What was done between two looks, and what the store said to it."""

    accepted: set[UUID] = field(default_factory=set)
    reports: list[tuple[Report, ReportAnswer]] = field(default_factory=list)
    cancelled: set[UUID] = field(default_factory=set)
    retried: set[UUID] = field(default_factory=set)
    queued: set[UUID] = field(default_factory=set)
    duties: set[str] = field(default_factory=set)
    ready: list[tuple[UUID, int]] = field(default_factory=list)
    """What the store gave out to be dispatched."""
    alone: bool = True
    """Nothing else was done at the same time: what is seen is what this led to."""
    held_back: bool = False
    """A lane rests or a type is limited: a claim may be put back."""
    resting: Priority | None = None

    def gave(self, dispatches: list[Dispatch]) -> None:
        """Note what is to be dispatched."""
        self.ready += [(each.job_id, each.attempt) for each in dispatches]


@dataclass(slots=True)
class Life:
    """One job by its log."""

    status: Status
    attempt: int = 1
    workers: dict[int, str] = field(default_factory=dict)
    """Who claimed each attempt."""
    outcomes: dict[int, ReportStatus | None] = field(default_factory=dict)
    """What was said of each attempt at its end; None: the leader ended it."""
    went: dict[int, Status] = field(default_factory=dict)
    """Where the job went at the end of each attempt."""
    ends: int = 0
    completed: bool = False
    retried: bool = False
    """A client made it run again, whatever it had waited for."""


class Ledger:
    """All jobs of one example."""

    def __init__(self) -> None:
        self.seq = 0
        self.lives: dict[UUID, Life] = {}
        self.rows: Mapping[UUID, Any] = {}
        self.allowance: dict[str, int] = {}
        """By limited type: how many jobs may start yet."""
        self._parents: dict[UUID, list[Any]] = {}
        self._late: set[UUID] = set()
        """What was to have started by the last look."""
        self._holders: defaultdict[str, set[UUID]] = defaultdict(set)

    def jobs(self, *statuses: Status) -> list[UUID]:
        """Return the jobs in any of these states, the oldest first; none given: all but webhooks."""
        if not statuses:
            return [id_ for id_, row in self.rows.items() if row["type"] != WEBHOOK]
        return [id_ for id_, row in self.rows.items() if row["status"] in statuses]

    def claimed(self) -> list[tuple[UUID, int, str]]:
        """Return all attempts that have started, with their workers."""
        return [(id_, n, worker) for id_ in self.rows for n, worker in self.lives[id_].workers.items()]

    def read(self, seen: Seen, step: Step) -> dict[UUID, Status]:
        """Replay what is new, and refuse what the step does not explain; return what has changed, and what it was."""
        must(self.rows.keys() | step.accepted <= {row["id"] for row in seen.jobs}, "a job is lost")
        self._late = {id_ for id_, row in self.rows.items() if row["is_late"]}
        self.rows = {row["id"]: row for row in seen.jobs}
        self._parents = defaultdict(list)
        for edge in seen.edges:
            self._parents[edge["child_id"]].append(edge)
        changed: dict[UUID, Status] = {}
        for event in seen.events:
            changed.setdefault(event["job_id"], Status(event["was"] or event["status"]))
            self._replay(event, step)
            self.seq = event["seq"]
        must(self.rows.keys() == self.lives.keys(), "a job has no history, or a history no job")
        return changed

    def holders(self, key: str) -> int:
        """Return how many jobs have a slot of the key."""
        return len(self._holders[key])

    def _replay(self, event: Any, step: Step) -> None:
        id_, status = event["job_id"], Status(event["status"])
        must(id_ in self.rows, f"{id_}: is lost")
        row = self.rows[id_]
        life = self.lives.get(id_)
        if life is None:
            must(event["was"] is None and status in INITIAL and event["attempt"] == 1, f"{id_}: begins as {status}")
            must(id_ in step.accepted or row["type"] == WEBHOOK, f"{id_}: nobody was told of it")
            self.lives[id_] = Life(status)
            self._hold(id_, row, status)
            return
        was = Status(event["was"])
        must(was is life.status, f"{id_}: a step from {life.status} to {was} is missing")
        if was is status:
            must(status is Status.RUNNING and event["attempt"] == life.attempt, f"{id_}: progress of {status}")
            return
        must(is_legal(was, status), f"{id_}: goes from {was} to {status}")
        anew = was in TERMINAL | {Status.RETRYING, Status.RUNNING} and status in (Status.PENDING, Status.BLOCKED)
        must(
            event["attempt"] == life.attempt + anew,
            f"{id_}: attempt {event['attempt']} after {life.attempt} ({was} > {status})",
        )
        must(self._has_cause(id_, life, was, event, step), f"{id_}: nothing made it go from {was} to {status}")
        life.status, life.attempt = status, event["attempt"]
        life.retried = life.retried or was in TERMINAL
        if status is Status.RUNNING:
            must(step.resting != row["priority"], f"{id_}: starts in a lane that rests")
            must(id_ not in self._late or not step.alone, f"{id_}: starts too late")
            self._started(id_, row, life, event["worker_id"])
        if status in TERMINAL:
            life.ends += 1
            life.completed = life.completed or status is Status.COMPLETED
        self._hold(id_, row, status)

    def _has_cause(self, id_: UUID, life: Life, was: Status, event: Any, step: Step) -> bool:
        status = Status(event["status"])
        match was, status:
            case _, Status.RUNNING:
                claim = (id_, event["attempt"], event["worker_id"])
                known = any(_key(report) == claim and is_claim(report) for report in _accepted(step))
            case Status.RUNNING, _:
                known = self._has_ended(id_, life, status, step)
            case _, Status.TIMEOUT:
                known = "expire" in step.duties
            case _, Status.CANCELLED:
                known = id_ in step.cancelled or self.rows[id_]["is_stopped"] or self._lost_a_parent(id_)
            case _, Status.QUEUED:
                known = id_ in step.queued
            case Status.QUEUED, _:
                known = "take_back" in step.duties or step.held_back
            case Status.SCHEDULED | Status.RETRYING, _:
                known = "promote" in step.duties
            case _:
                known = was is Status.BLOCKED or id_ in step.retried
        return known

    def _has_ended(self, id_: UUID, life: Life, status: Status, step: Step) -> bool:
        attempt = (id_, life.attempt, life.workers[life.attempt])
        said = {
            report.status
            for report in _accepted(step)
            if _key(report) == attempt and status in MAY_FOLLOW.get(report.status, ())
        }
        must(len(said) <= 1, f"{id_}: attempt {life.attempt} ended as all of {sorted(said)}")
        life.outcomes[life.attempt] = said.pop() if said else None
        life.went[life.attempt] = status
        return life.outcomes[life.attempt] is not None or bool({"lose", "overrun"} & step.duties)

    def _lost_a_parent(self, id_: UUID) -> bool:
        edges = self._parents.get(id_, ())
        return any(edge["needed"] and edge["resolved"] and self.lives[edge["parent_id"]].ends for edge in edges)

    def _started(self, id_: UUID, row: Any, life: Life, worker: str) -> None:
        must(life.attempt not in life.workers, f"{id_}: attempt {life.attempt} starts twice")
        life.workers[life.attempt] = worker
        if row["type"] in self.allowance:
            self.allowance[row["type"]] -= 1
            must(self.allowance[row["type"]] >= 0, f"{id_}: starts although its type has no token")
        for edge in self._parents.get(id_, ()):
            parent = self.lives[edge["parent_id"]]
            must(parent.ends, f"{id_}: starts before the end of its parent {edge['parent_id']}")
            must(
                parent.completed or not edge["needed"] or life.retried,
                f"{id_}: starts although its parent did not complete",
            )

    def _hold(self, id_: UUID, row: Any, status: Status) -> None:
        key = row["concurrency_key"]
        if key is None:
            return
        holders = self._holders[key]
        if status in HOLDING:
            holders.add(id_)
            most = max(self.rows[each]["concurrency_limit"] for each in holders)
            must(len(holders) <= most, f"{id_}: is one of {len(holders)} with a slot of {key}, limited to {most}")
        else:
            holders.discard(id_)


def _key(report: Report) -> tuple[UUID, int, str]:
    return report.job_id, report.attempt, report.worker_id


def _accepted(step: Step) -> Iterator[Report]:
    return (report for report, answer in step.reports if answer.answer is Answer.ACCEPTED)
