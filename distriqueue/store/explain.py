"""What a job waits for: the facts of one instant, each at constant cost however many jobs there are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from distriqueue.core.errors import NotFound
from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("explain.sql")
NAMED: Final = 10
"""Most jobs that are named."""
COUNTED: Final = 1_000
"""Counts are exact up to here."""


@dataclass(frozen=True, slots=True)
class ParentNow:
    """A job that another one depends on."""

    id: UUID
    status: Status


@dataclass(frozen=True, slots=True)
class Slots:
    """Who holds the slots of a job's concurrency key, and how many stand in line before it."""

    holders: tuple[UUID, ...]
    """Some of them."""
    held: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Lane:
    """The lane that a job goes through."""

    priority: Priority
    paused: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Takers:
    """The living workers that are not draining, and those of them that handle the job's type."""

    workers: int
    handling: int
    capacity: int
    load: int


@dataclass(frozen=True, slots=True)
class OwnWorker:
    """The worker of a job's newest attempt, as the orchestrators last heard it."""

    state: str
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """All that says why a job is where it is; what does not concern its status is None or empty."""

    now: datetime
    id: UUID
    type: str
    status: Status
    attempt: int
    failures: int
    losses: int
    max_retries: int
    execution_timeout_s: float
    cancel_requested: bool
    worker_id: str | None
    progress: float | None
    progress_message: str | None
    ready_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    batch_id: UUID | None
    concurrency_key: str | None
    concurrency_limit: int | None
    rate_slot: datetime | None
    waits_for: int
    """Parents that have not ended, or whose end has not been followed up yet."""
    fingerprint: str | None
    error_type: str | None
    error_message: str | None
    parents: tuple[ParentNow, ...]
    """Blocked: some of those that it waits for. Cancelled by its parents: those that have not completed."""
    slots: Slots | None
    ahead: int
    """How many jobs of its priority wait for the broker, or in it, for longer."""
    lane: Lane
    takers: Takers | None
    worker: OwnWorker | None


class ExplainStore:
    """Reads the facts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def facts(self, job_id: UUID) -> Facts:
        """Return what there is to say of a job; NotFound."""
        rows = await self._database.fetch(SQL["facts"], job_id, NAMED, COUNTED)
        if not rows:
            raise NotFound(f"there is no job {job_id}")
        return _facts(rows[0])


def _facts(row: Any) -> Facts:
    found = dict(row)
    priority, lane = found.pop("priority"), found.pop("lane")
    paused, reason = found.pop("paused"), found.pop("reason")
    state, last_seen = found.pop("worker_state"), found.pop("worker_last_seen")
    parents, slots, takers = (json and from_json(json) for json in map(found.pop, ("parents", "slots", "takers")))
    ahead = found.pop("ahead")
    return Facts(
        **found | {"status": Status(found["status"])},
        parents=tuple(ParentNow(UUID(each["id"]), Status(each["status"])) for each in parents or ()),
        slots=slots and Slots(tuple(map(UUID, slots["holders"])), slots["held"], slots["ahead"]),
        ahead=ahead or 0,
        lane=Lane(Priority(lane or priority), bool(paused), reason),
        takers=takers and Takers(**takers),
        worker=None if state is None else OwnWorker(state, last_seen),
    )
