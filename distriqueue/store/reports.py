"""Workers' reports: claims, progress and ends, applied a batch at a time in one commit.

A report counts only when job, attempt and worker match a row whose status allows it. What matches none is judged by
what the row says now: a repeated report is answered as it was the first time, anything else is refused or stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json

from distriqueue.core.messages import Answer, Dispatch, Report, ReportAnswer, ReportStatus
from distriqueue.core.states import TERMINAL
from distriqueue.store.database import Database, again
from distriqueue.store.jobs import dispatch_of
from distriqueue.store.routing import Routing
from distriqueue.store.statements import load

SQL: Final = load("reports.sql")
TRACEBACK_CHARS: Final = 16_384
MESSAGE_CHARS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Applied:
    """The answers, in the order of the reports, and what was released and wants a new dispatch."""

    answers: list[ReportAnswer]
    released: list[Dispatch]


class ReportStore:
    """Applies batches of reports; with a routing, claims of paused lanes are refused."""

    def __init__(self, database: Database, routing: Routing | None = None) -> None:
        self._database = database
        self._routing = routing

    async def apply(self, reports: Sequence[Report]) -> Applied:
        """Apply all in one transaction and answer each; raises StoreUnavailable, and then none counts."""
        return await again(lambda: self._apply(reports))

    async def _apply(self, reports: Sequence[Report]) -> Applied:
        order = sorted(range(len(reports)), key=lambda i: reports[i].job_id)
        claims = [i for i in order if reports[i].status is ReportStatus.RUNNING and reports[i].progress is None]
        newest = {
            reports[i].job_id: i
            for i in order
            if reports[i].status is ReportStatus.RUNNING and reports[i].progress is not None
        }
        progress = list(newest.values())
        releases = [i for i in order if reports[i].status is ReportStatus.RELEASED]
        ends = [i for i in order if reports[i].status not in (ReportStatus.RUNNING, ReportStatus.RELEASED)]
        accepted: set[int] = set()
        put_back: set[int] = set()
        released: list[Dispatch] = []
        paused = (await self._routing.fresh()).paused if claims and self._routing is not None else frozenset()
        async with self._database.transaction() as connection:
            if paused:
                lanes = [lane.value for lane in paused]
                rows = await connection.fetch(SQL["put_back"], *_keys([reports[i] for i in claims]), lanes)
                put_back.update(claims[row["n"] - 1] for row in rows)
                claims = [i for i in claims if i not in put_back]
            for name, part, columns in (
                ("claim", claims, _keys),
                ("progress", progress, _progress_columns),
                ("finish", ends, _end_columns),
            ):
                if part:
                    rows = await connection.fetch(SQL[name], *columns([reports[i] for i in part]))
                    accepted.update(part[row["n"] - 1] for row in rows)
            if releases:
                for row in await connection.fetch(SQL["release"], *_keys([reports[i] for i in releases])):
                    accepted.add(releases[row["n"] - 1])
                    if row["status"] == "pending":
                        released.append(dispatch_of(row))
            left = [i for i in range(len(reports)) if i not in accepted and i not in put_back]
            judged: dict[int, Any] = {}
            if left:
                keys = [reports[i].job_id for i in left], [reports[i].attempt for i in left]
                judged = {left[row["n"] - 1]: row for row in await connection.fetch(SQL["judge"], *keys)}
        answers = [_answer(report, Answer.ACCEPTED) for report in reports]
        for i in put_back:
            answers[i] = _answer(reports[i], Answer.REFUSED, "queue_paused")
        for i, row in judged.items():
            answers[i] = judge(reports[i], row)
        return Applied(answers, released)


def judge(report: Report, now: Any) -> ReportAnswer:
    """Answer a report that changed nothing, by the job's row as it is now (`status` None: no such job)."""
    status, same_attempt = now["status"], now["attempt"] == report.attempt
    mine = same_attempt and now["worker_id"] == report.worker_id
    if report.status is ReportStatus.RUNNING and report.progress is None:
        if mine and status == "running":
            return _answer(report, Answer.ACCEPTED)  # the first answer was lost
        return _answer(report, Answer.REFUSED, _refusal(status, same_attempt=same_attempt))
    if mine and status == report.status.value:
        return _answer(report, Answer.ACCEPTED)
    if now["ended_on"] == report.worker_id and now["outcome"] == report.status.value:
        return _answer(report, Answer.ACCEPTED)
    return _answer(report, Answer.STALE, "unknown_job" if status is None else "not_this_workers_attempt")


def _refusal(status: str | None, *, same_attempt: bool) -> str:
    if status is None:
        return "unknown_job"
    if status in TERMINAL:
        return "cancelled" if status == "cancelled" else "finished"
    if not same_attempt:
        return "stale_attempt"
    return "running_elsewhere" if status == "running" else "not_ready"


def _answer(report: Report, answer: Answer, reason: str | None = None) -> ReportAnswer:
    return ReportAnswer.model_construct(job_id=report.job_id, attempt=report.attempt, answer=answer, reason=reason)


def _keys(reports: Sequence[Report]) -> tuple[list[UUID], list[int], list[str]]:
    return [r.job_id for r in reports], [r.attempt for r in reports], [r.worker_id for r in reports]


def _progress_columns(reports: Sequence[Report]) -> tuple[list[Any], ...]:
    return (*_keys(reports), [r.progress for r in reports])


def _end_columns(reports: Sequence[Report]) -> tuple[list[Any], ...]:
    return (
        *_keys(reports),
        [r.status.value for r in reports],
        [_result(r) for r in reports],
        [_error(r) for r in reports],
        [r.retryable for r in reports],
        [r.retry_after for r in reports],
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
    # Postgres stores an escaped NUL in a json value, but then cannot read the text out of it.
    return to_json(
        {name: value.replace("\0", "\ufffd") for name, value in fields.items() if value is not None}
    ).decode()
