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
from distriqueue.store.logs import keep_logs
from distriqueue.store.routing import Routes, Routing
from distriqueue.store.statements import load

SQL: Final = load("reports.sql")
TRACEBACK_CHARS: Final = 16_384
MESSAGE_CHARS: Final = 4_096
PARENT_RESULT_BYTES: Final = 65_536
"""A parent's result that is larger does not come with the claim."""
_SAID: Final = {"job_id", "attempt", "answer", "reason"}


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
        """Apply all and answer each; StoreUnavailable: some may count, and are answered so when all are sent again."""
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
        if routes is None and len(claims) + len(ends) == len(reports) and not any(map(_has_words, reports)):
            # Nearly always it is claims without parents, and ends that nothing follows from: one statement does.
            rows = await self._database.fetch(SQL["take"], *_take_columns(reports, claims, ends), True, steady=True)
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
        batch = _Batch(reports)
        async with self._database.transaction() as connection:
            if batch.claims and routes is not None:
                await batch.hold_back(connection, routes)
            await batch.take(connection)
            await batch.progress(connection)
            await batch.release(connection)
            ready = await follow_up(connection, batch.over)
            # After that: a batch that has stopped lets none of its jobs start again.
            ready += await dispatches(connection, batch.released)
            await batch.judge(connection)
            await batch.keep_logs(connection)
            parents = await _parents(connection, batch.children)
        return Applied(batch.answers(parents), ready)


class _Batch:
    """A batch on its careful way: each step notes what it has decided, by the numbers of the reports."""

    def __init__(self, reports: Sequence[Report]) -> None:
        numbers = range(len(reports))
        self._reports = reports
        self.claims = [i for i in numbers if is_claim(reports[i])]
        self._running = [i for i in numbers if reports[i].status is ReportStatus.RUNNING and not is_claim(reports[i])]
        self._releases = [i for i in numbers if reports[i].status is ReportStatus.RELEASED]
        self._ends = [i for i in numbers if reports[i].status not in (ReportStatus.RUNNING, ReportStatus.RELEASED)]
        self._accepted: set[int] = set()
        self._refused: dict[int, str] = {}
        self._judged: dict[int, Any] = {}
        self._checkpoints: dict[int, str] = {}
        """What claims are told."""
        self.children: dict[UUID, int] = {}
        """The claims of jobs that have waited for others, by their ids."""
        self.released: list[UUID] = []
        self.over: list[UUID] = []
        """From whose ends, or from whose leaving a slot, something may follow."""

    async def hold_back(self, connection: Any, routes: Routes) -> None:
        """Put back claims that may not start now."""
        self._refused = await _hold_back(connection, self._reports, self.claims, routes)
        self.claims = [i for i in self.claims if i not in self._refused]

    async def take(self, connection: Any) -> None:
        """Claims and ends."""
        reports, claims, ends = self._reports, self.claims, self._ends
        await _leave_checkpoints(connection, [reports[i] for i in ends + self._releases])
        if not claims and not ends:
            return
        for row in await connection.fetch(SQL["take"], *_take_columns(reports, claims, ends), False):
            i = (claims if row["kind"] == "claim" else ends)[row["n"] - 1]
            self._accepted.add(i)
            self._promise(i, row)
            if row["followed"]:
                self.over.append(row["id"])

    async def progress(self, connection: Any) -> None:
        """Of each job the newest counts."""
        if not self._running:
            return
        reports = self._reports
        await _leave_checkpoints(connection, [reports[i] for i in self._running])
        latest: dict[UUID, int] = {}
        for i in self._running:
            if reports[i].progress is not None or reports[i].job_id not in latest:
                latest[reports[i].job_id] = i
        newest = list(latest.values())
        rows = await connection.fetch(SQL["progress"], *_progress_columns([reports[i] for i in newest]))
        self._accepted.update(newest[row["n"] - 1] for row in rows)

    async def release(self, connection: Any) -> None:
        """Attempts that are given back."""
        if not self._releases:
            return
        rows = await connection.fetch(SQL["release"], *_keys([self._reports[i] for i in self._releases]))
        self._accepted.update(self._releases[row["n"] - 1] for row in rows)
        self.released = [row["id"] for row in rows]
        self.over += [row["id"] for row in rows if row["followed"]]

    async def judge(self, connection: Any) -> None:
        """What has changed nothing."""
        reports = self._reports
        left = [i for i in range(len(reports)) if i not in self._accepted and i not in self._refused]
        if not left:
            return
        keys = [reports[i].job_id for i in left], [reports[i].attempt for i in left]
        self._judged = {left[row["n"] - 1]: row for row in await connection.fetch(SQL["judge"], *keys)}
        for i, row in self._judged.items():
            if is_claim(reports[i]) and judge(reports[i], row).answer is Answer.ACCEPTED:
                self._promise(i, row)

    async def keep_logs(self, connection: Any) -> None:
        """Lines of the jobs' logs; an end that is told again has brought its lines before."""
        spoken = [
            report
            for i, report in enumerate(self._reports)
            if report.logs and (i in self._accepted or (i in self._judged and self._is_still_running(i)))
        ]
        if spoken:
            await keep_logs(connection, spoken)

    def answers(self, parents: Mapping[int, list[Parent]]) -> list[ReportAnswer]:
        """Return the answers, in the order of the reports."""
        answers = [_answer(report, Answer.ACCEPTED) for report in self._reports]
        for i, reason in self._refused.items():
            answers[i] = _answer(self._reports[i], Answer.REFUSED, reason)
        for i, row in self._judged.items():
            answers[i] = judge(self._reports[i], row)
        for i, waited_for in parents.items():
            answers[i] = answers[i].model_copy(update={"parents": waited_for})
        for i, checkpoint in self._checkpoints.items():
            answers[i] = answers[i].model_copy(update={"checkpoint": from_json(checkpoint)})
        return answers

    def _promise(self, i: int, row: Any) -> None:
        """Note what an accepted claim is told besides."""
        if row["has_parents"]:
            self.children[self._reports[i].job_id] = i
        if row["checkpoint"] is not None and is_claim(self._reports[i]):
            self._checkpoints[i] = row["checkpoint"]

    def _is_still_running(self, i: int) -> bool:
        """Tell whether it is a step of progress that a newer one in this batch has overtaken."""
        report = self._reports[i]
        return report.status is ReportStatus.RUNNING and judge(report, self._judged[i]).answer is Answer.ACCEPTED


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


async def _leave_checkpoints(connection: Any, reports: Sequence[Report]) -> None:
    """Put down the newest checkpoint of each job, before its end is taken: what has completed leaves none."""
    newest = {report.job_id: report for report in reports if report.checkpoint is not None}
    if newest:
        left = list(newest.values())
        await connection.execute(SQL["checkpoint"], *_keys(left), [to_json(r.checkpoint).decode() for r in left])


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
    return report.status is ReportStatus.RUNNING and report.progress is None and not _has_words(report)


def _has_words(report: Report) -> bool:
    """Tell whether it brings lines of the job's log, or a checkpoint."""
    return bool(report.logs) or report.checkpoint is not None


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
    # With every field: the default of a list is copied each time, which costs more than all the rest.
    return ReportAnswer.model_construct(
        _SAID, job_id=report.job_id, attempt=report.attempt, answer=answer, reason=reason, parents=[], checkpoint=None
    )


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
