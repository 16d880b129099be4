"""Workers' reports: claims, progress and ends, applied a batch at a time in one commit.

A report counts only when job, attempt and worker match a row whose status allows it. What matches none is judged by
what the row says now: a repeated report is answered as it was the first time, anything else is refused or stale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json, to_json

from distriqueue.core.messages import Answer, Dispatch, JobError, Parent, Report, ReportAnswer, ReportStatus
from distriqueue.core.states import TERMINAL, Status
from distriqueue.store.database import Database, again
from distriqueue.store.followups import dispatches, follow_up
from distriqueue.store.routing import Routes, Routing
from distriqueue.store.statements import load

SQL: Final = load("reports.sql")
TRACEBACK_CHARS: Final = 16_384
MESSAGE_CHARS: Final = 4_096


PARENT_RESULT_BYTES: Final = 65_536
"""A parent's result that is larger does not come with the claim."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answers, in the order of the reports, and what became pending by them: released, next in line, children."""

    answers: list[ReportAnswer]
    ready: list[Dispatch]


class ReportStore:
    """Applies batches of reports; with a routing, claims of paused lanes and limited types may be refused."""

    def __init__(self, database: Database, routing: Routing | None = None) -> None:
        self._database = database
        self._routing = routing

    async def apply(self, reports: Sequence[Report]) -> Applied:
        """Apply all in one transaction and answer each; raises StoreUnavailable, and then none counts."""
        return await again(lambda: self._apply(reports))

    async def _apply(self, reports: Sequence[Report]) -> Applied:
        order = sorted(range(len(reports)), key=lambda i: reports[i].job_id)
        claims = [i for i in order if is_claim(reports[i])]
        ends = [i for i in order if reports[i].status not in (ReportStatus.RUNNING, ReportStatus.RELEASED)]
        routes = await self._routing.fresh() if claims and self._routing is not None else None
        if routes is not None and not (routes.paused or routes.limited):
            routes = None
        answers = [_answer(report, Answer.ACCEPTED) for report in reports]
        left = order
        if routes is None and len(claims) + len(ends) == len(reports):
            # Nearly always it is claims without parents, and ends that nothing follows from: one statement does.
            rows = await self._database.fetch(SQL["take"], *_take_columns(reports, claims, ends), True)
            accepted = {(claims if row["kind"] == "claim" else ends)[row["n"] - 1] for row in rows}
            left = [i for i in order if i not in accepted]
            if not left:
                return Applied(answers, [])
        rest = await self._apply_with_care([reports[i] for i in left], routes)
        for i, answer in zip(left, rest.answers, strict=True):
            answers[i] = answer
        return Applied(answers, rest.ready)

    async def _apply_with_care(self, reports: Sequence[Report], routes: Routes | None) -> Applied:
        """Apply reports, sorted by their jobs' ids, with all that follows from them; and say why others count not."""
        numbers = range(len(reports))
        claims = [i for i in numbers if is_claim(reports[i])]
        newest = {
            reports[i].job_id: i
            for i in numbers
            if reports[i].status is ReportStatus.RUNNING and reports[i].progress is not None
        }
        progress = list(newest.values())
        releases = [i for i in numbers if reports[i].status is ReportStatus.RELEASED]
        ends = [i for i in numbers if reports[i].status not in (ReportStatus.RUNNING, ReportStatus.RELEASED)]
        accepted: set[int] = set()
        refused: dict[int, str] = {}
        children: dict[UUID, int] = {}
        released: list[UUID] = []
        over: list[UUID] = []
        async with self._database.transaction() as connection:
            if claims and routes is not None:
                refused = await _hold_back(connection, reports, claims, routes)
                claims = [i for i in claims if i not in refused]
            if claims or ends:
                for row in await connection.fetch(SQL["take"], *_take_columns(reports, claims, ends), False):
                    i = (claims if row["kind"] == "claim" else ends)[row["n"] - 1]
                    accepted.add(i)
                    if row["has_parents"]:
                        children[reports[i].job_id] = i
                    if row["followed"]:
                        over.append(row["id"])
            if progress:
                rows = await connection.fetch(SQL["progress"], *_progress_columns([reports[i] for i in progress]))
                accepted.update(progress[row["n"] - 1] for row in rows)
            if releases:
                rows = await connection.fetch(SQL["release"], *_keys([reports[i] for i in releases]))
                accepted.update(releases[row["n"] - 1] for row in rows)
                released = [row["id"] for row in rows]
                over += [row["id"] for row in rows if row["followed"]]
            ready = await follow_up(connection, over)
            # After that: a batch that has stopped lets none of its jobs start again.
            ready += await dispatches(connection, released)
            left = [i for i in numbers if i not in accepted and i not in refused]
            judged: dict[int, Any] = {}
            if left:
                keys = [reports[i].job_id for i in left], [reports[i].attempt for i in left]
                judged = {left[row["n"] - 1]: row for row in await connection.fetch(SQL["judge"], *keys)}
                children |= {
                    reports[i].job_id: i
                    for i, row in judged.items()
                    if row["has_parents"] and is_claim(reports[i]) and judge(reports[i], row).answer is Answer.ACCEPTED
                }
            parents = await _parents(connection, children)
        answers = [_answer(report, Answer.ACCEPTED) for report in reports]
        for i, reason in refused.items():
            answers[i] = _answer(reports[i], Answer.REFUSED, reason)
        for i, row in judged.items():
            answers[i] = judge(reports[i], row)
        for i, waited_for in parents.items():
            answers[i] = answers[i].model_copy(update={"parents": waited_for})
        return Applied(answers, ready)


async def _hold_back(
    connection: Any, reports: Sequence[Report], claims: Sequence[int], routes: Routes
) -> dict[int, str]:
    """Put back the claims of paused lanes, and those of limited types for which there is no token; say why."""
    refused: dict[int, str] = {}
    if routes.paused:
        lanes = [lane.value for lane in routes.paused]
        rows = await connection.fetch(SQL["put_back"], *_keys([reports[i] for i in claims]), lanes)
        refused = dict.fromkeys((claims[row["n"] - 1] for row in rows), "queue_paused")
    left = [i for i in claims if i not in refused]
    if routes.limited and left:
        ids, attempts, _ = _keys([reports[i] for i in left])
        rows = await connection.fetch(SQL["throttle"], ids, attempts)
        refused |= dict.fromkeys((left[row["n"] - 1] for row in rows), "rate_limited")
    return refused


async def _parents(connection: Any, children: Mapping[UUID, int]) -> dict[int, list[Parent]]:
    """Return the parents of claimed jobs, by the numbers of their claims."""
    if not children:
        return {}
    parents: dict[int, list[Parent]] = {}
    for row in await connection.fetch(SQL["parents"], list(children), PARENT_RESULT_BYTES):
        parents.setdefault(children[row["child_id"]], []).append(_parent(row))
    return parents


def _parent(row: Any) -> Parent:
    return Parent(
        job_id=UUID(bytes=row["id"].bytes),
        type=row["type"],
        status=Status(row["status"]),
        result=row["result"] and from_json(row["result"]),
        error=row["error"] and JobError.model_validate_json(row["error"]),
        omitted=bool(row["omitted"]),
    )


def bounded(report: Report, max_result_bytes: int) -> Report:
    """Return the report; of one with a result that is too large, that its attempt failed by that, for good."""
    if report.status is not ReportStatus.COMPLETED or report.result is None:
        return report
    size = len(to_json(report.result))
    if size <= max_result_bytes:
        return report
    changes = {
        "status": ReportStatus.FAILED,
        "result": None,
        "error_type": "result_too_large",
        "error_message": f"the result is {size} bytes, the most is {max_result_bytes}",
        "retryable": False,
    }
    return report.model_copy(update=changes)


def is_claim(report: Report) -> bool:
    """Tell whether it asks to start the attempt."""
    return report.status is ReportStatus.RUNNING and report.progress is None


def judge(report: Report, now: Any) -> ReportAnswer:
    """Answer a report that changed nothing, by the job's row as it is now (`status` None: no such job)."""
    status, same_attempt = now["status"], now["attempt"] == report.attempt
    mine = same_attempt and now["worker_id"] == report.worker_id
    if is_claim(report):
        if mine and status == "running":
            return _answer(report, Answer.ACCEPTED)  # the first answer was lost
        return _answer(report, Answer.REFUSED, _refusal(status, same_attempt=same_attempt, expired=now["expired"]))
    if mine and status == report.status.value and now["outcome"] is None:
        return _answer(report, Answer.ACCEPTED)
    if now["ended_on"] == report.worker_id and now["outcome"] == report.status.value:
        return _answer(report, Answer.ACCEPTED)
    return _answer(report, Answer.STALE, "unknown_job" if status is None else "not_this_workers_attempt")


def _refusal(status: str | None, *, same_attempt: bool, expired: bool | None) -> str:
    if status is None:
        return "unknown_job"
    if status in TERMINAL:
        return "cancelled" if status == "cancelled" else "finished"
    if not same_attempt:
        return "stale_attempt"
    if status == "running":
        return "running_elsewhere"
    return "expired" if expired else "not_ready"


def _answer(report: Report, answer: Answer, reason: str | None = None) -> ReportAnswer:
    return ReportAnswer.model_construct(job_id=report.job_id, attempt=report.attempt, answer=answer, reason=reason)


def _keys(reports: Sequence[Report]) -> tuple[list[UUID], list[int], list[str]]:
    return [r.job_id for r in reports], [r.attempt for r in reports], [r.worker_id for r in reports]


def _progress_columns(reports: Sequence[Report]) -> tuple[list[Any], ...]:
    return (*_keys(reports), [r.progress for r in reports], [_clean(r.progress_message) for r in reports])


def _take_columns(reports: Sequence[Report], claims: Sequence[int], ends: Sequence[int]) -> tuple[list[Any], ...]:
    ended = [reports[i] for i in ends]
    return (
        *_keys([reports[i] for i in claims]),
        *_keys(ended),
        [r.status.value for r in ended],
        [_result(r) for r in ended],
        [_error(r) for r in ended],
        [r.retryable for r in ended],
        [r.retry_after for r in ended],
    )


def _result(report: Report) -> str | None:
    if report.status is not ReportStatus.COMPLETED or report.result is None:
        return None
    return to_json(report.result).decode()


def _error(report: Report) -> str | None:
    if report.status in (ReportStatus.COMPLETED, ReportStatus.CANCELLED) and report.error_message is None:
        return None
    fields = {
        "message": (report.error_message or report.status.value)[:MESSAGE_CHARS],
        "type": report.error_type,
        "traceback": report.traceback and report.traceback[-TRACEBACK_CHARS:],
    }
    return to_json({name: _clean(value) for name, value in fields.items() if value is not None}).decode()


def _clean(text: str | None) -> str | None:
    """Replace NUL: Postgres stores an escaped one in a json value, but then cannot read the text out of it."""
    return text and text.replace("\0", "\ufffd")
