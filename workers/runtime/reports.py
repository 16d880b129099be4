"""The outbox: every claim, progress and end of this worker goes through here, in batches, until it is answered.

Whatever is waiting when a request returns goes out in the next one, so the load sets the batch size and an idle worker
waits for nothing. A second request leaves while the first is out only when a good many wait or the first is slow. While
the gateway or its database is away everything is kept and sent again, with backoff and jitter; the gateway's
answers are the same for a repeated report, so a lost reply does no harm. Memory is bounded because an
attempt has at most two reports here, and `full` stops new claims.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import orjson

from distriqueue.core.errors import Unavailable
from distriqueue.core.messages import Answer, Dispatch, ReportStatus
from distriqueue.core.retry import backoff_s
from distriqueue.lifecycle import wait_for
from distriqueue.telemetry import get_logger
from distriqueue.telemetry.tracing import Tracing
from workers.runtime.gateway import ReportsRejected
from workers.runtime.joblog import Line
from workers.runtime.outcome import Outcome, failure
from workers.runtime.pending import NOTHING, OVERHEAD_BYTES, Granted, Kind, OnAnswer, Pending, PendingReports
from workers.runtime.recent import AttemptKey, key_of

log = get_logger("worker.reports")

MAX_BATCH: Final = 500
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_IN_FLIGHT: Final = 2
SECOND_FROM: Final = 100
"""Reports that make a second request worth its cost."""
SLOW_S: Final = 0.02
"""A request out for longer than this does not hold up the others."""
FULL_REPORTS: Final = 5_000
FULL_BYTES: Final = 64 * 1024 * 1024

_ANSWERS: Final = frozenset(Answer)
_OWN_WORDS: Final = frozenset({"result_too_large", "report_rejected"})


class Gateway(Protocol):
    """Where reports go."""

    @property
    def count(self) -> int:
        """How many replicas there are to try."""

    async def post(self, body: bytes) -> list[dict[str, Any]]:
        """Answer a JSON list of reports; raise Unavailable or ReportsRejected."""


class Outbox:
    """Keeps reports until the gateway has answered them. Run `run` in a task; it never returns."""

    def __init__(
        self, gateway: Gateway, worker_id: str, *, rng: random.Random | None = None, tracing: Tracing | None = None
    ) -> None:
        self._tracing = tracing
        self._gateway = gateway
        self._worker_id = worker_id
        self._rng = rng or random.SystemRandom()
        self._pending = PendingReports()
        self._wake = asyncio.Event()
        self._progressed = asyncio.Event()
        self._requests = 0
        self._failures = 0

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def full(self) -> bool:
        """Whether so much is waiting that no new job should be claimed."""
        return len(self._pending) >= FULL_REPORTS or self._pending.size_bytes >= FULL_BYTES

    def claim(self, dispatch: Dispatch, on_answer: OnAnswer) -> None:
        """Ask whether the attempt may run; `on_answer` is called once."""
        key = key_of(dispatch)
        self._add(Pending(key, Kind.CLAIM, self._body(key, ReportStatus.RUNNING), on_answer=on_answer))

    def progress(
        self,
        key: AttemptKey,
        percent: float | None,
        message: str | None,
        on_answer: OnAnswer,
        *,
        lines: Sequence[Line] = (),
        checkpoint: bytes | None = None,
    ) -> None:
        """Tell how far a running attempt is, and what it has to say; an older one that still waits is replaced."""
        body = self._body(key, ReportStatus.RUNNING)
        if percent is not None:
            body["progress"] = percent
        if message is not None:
            body["progressMessage"] = message
        report = Pending(key, Kind.PROGRESS, body, OVERHEAD_BYTES + len(message or ""), on_answer)
        report.say(lines, checkpoint)
        self._add(report)

    def end(self, key: AttemptKey, outcome: Outcome) -> None:
        """Tell how an attempt ended; its claim was answered before."""
        size_bytes = OVERHEAD_BYTES + len(outcome.result or b"") + len(outcome.traceback or "")
        report = Pending(key, Kind.END, self._end_body(key, outcome), size_bytes)
        if outcome.lines or outcome.checkpoint is not None:
            report.say(outcome.lines, outcome.checkpoint)
        if outcome.trace is not None:
            report.trace, report.since_ns = outcome.trace, time.time_ns()
        self._add(report)

    def withdraw_claims(self) -> list[AttemptKey]:
        """Take back the claims that no gateway has seen, and return them; their `on_answer` is not called."""
        withdrawn = [report.key for report in self._pending.withdraw(Kind.CLAIM)]
        self._progressed.set()
        return withdrawn

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all is answered; False when something still waits after `timeout_s` seconds."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while len(self._pending):
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                return False
            self._progressed.clear()
            await wait_for(self._progressed, left_s)
        return True

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_IN_FLIGHT):
                group.create_task(self._send())

    async def _send(self) -> None:
        while True:
            await self._until_due()
            batch = self._pending.take(most=MAX_BATCH, most_bytes=MAX_BATCH_BYTES)
            self._requests += 1
            pause_s = 0.0
            try:
                await self._deliver(batch)
                self._failures = 0
            except Unavailable as exc:
                pause_s = self._failed(exc)
            finally:
                self._pending.put_back(batch)
                self._progressed.set()
                if not pause_s:
                    self._requests -= 1
            if pause_s:
                await asyncio.sleep(pause_s)
                self._requests -= 1
            self._wake.set()

    async def _until_due(self) -> None:
        while True:
            ready = self._pending.ready
            slow_s: float | None = None
            if ready:
                if self._requests == 0:
                    return
                if self._requests < MAX_IN_FLIGHT and not self._failures:
                    if ready >= SECOND_FROM:
                        return
                    slow_s = SLOW_S
            self._wake.clear()
            if slow_s is None:
                await self._wake.wait()
            elif not await wait_for(self._wake, slow_s) and self._pending.ready and not self._failures:
                return

    async def _deliver(self, batch: Sequence[Pending]) -> None:
        """Send a batch; a list that is rejected is halved until the report at fault is alone."""
        try:
            answers = await self._gateway.post(orjson.dumps([report.body for report in batch]))
        except ReportsRejected as exc:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._deliver(batch[:middle])
                await self._deliver(batch[middle:])
            else:
                self._reject(batch[0], exc)
            return
        if len(answers) != len(batch):
            raise Unavailable(f"{len(answers)} answers to {len(batch)} reports", retry_after_s=0.0)
        for report, answer in zip(batch, answers, strict=True):
            self._answered(report, answer)

    def _answered(self, report: Pending, answer: Any) -> None:
        said = answer.get("answer") if isinstance(answer, dict) else None
        if not isinstance(said, str) or said not in _ANSWERS:
            raise Unavailable(f"an answer that is none: {str(answer)[:200]}", retry_after_s=0.0)
        reason = answer.get("reason")
        self._pending.answered(report)
        if report.trace is not None and self._tracing is not None:
            _record(self._tracing, report, report.trace, said)
        if report.on_answer is not None:
            report.on_answer(report.key, said, reason, Granted.of(answer))
        elif said != Answer.ACCEPTED and report.kind is Kind.END:
            job_id, attempt = report.key
            log.warning("report_not_taken", job_id=str(job_id), attempt=attempt, answer=said, reason=reason)

    def _reject(self, report: Pending, exc: ReportsRejected) -> None:
        """One report is at fault: say so loudly, put an end that can be taken in its place, or drop it."""
        job_id, attempt = report.key
        log.error("report_rejected", job_id=str(job_id), attempt=attempt, kind=report.kind.value, error=str(exc))
        self._pending.answered(report)
        if report.kind is Kind.CLAIM and report.on_answer is not None:
            report.on_answer(report.key, Answer.REFUSED, f"the gateway rejects the claim: {exc}", NOTHING)
        elif report.kind is Kind.END and report.body.get("errorType") not in _OWN_WORDS:
            if exc.status == 413:
                instead = failure("result_too_large", f"the gateway takes no result of {report.size_bytes} bytes")
            else:
                instead = failure("report_rejected", f"the gateway rejects the attempt's end: {exc}")
            self.end(report.key, instead)

    def _failed(self, exc: Unavailable) -> float:
        """Return how long to wait: another replica is tried at once, a full round of failures backs off."""
        self._failures += 1
        rounds, within = divmod(self._failures, self._gateway.count)
        pause_s = (
            0.01 if within else max(backoff_s(rounds, self._rng), exc.retry_after_s * (1 + self._rng.random() / 4))
        )
        log.warning(
            "reports_wait",
            waiting=len(self._pending),
            failures=self._failures,
            pause_s=round(pause_s, 3),
            error=str(exc),
        )
        return pause_s

    def _add(self, report: Pending) -> None:
        self._pending.add(report)
        self._wake.set()

    def _body(self, key: AttemptKey, status: ReportStatus) -> dict[str, Any]:
        return {"jobId": key[0], "attempt": key[1], "status": status.value, "workerId": self._worker_id}

    def _end_body(self, key: AttemptKey, outcome: Outcome) -> dict[str, Any]:
        body = self._body(key, outcome.status)
        if outcome.result is not None:
            body["result"] = orjson.Fragment(outcome.result)
        if outcome.error_type is not None:
            body["errorType"] = outcome.error_type
            body["errorMessage"] = outcome.error_message
            body["retryable"] = outcome.retryable
        if outcome.traceback is not None:
            body["traceback"] = outcome.traceback
        if outcome.retry_after_s is not None:
            body["retryAfter"] = outcome.retry_after_s
        return body


def _record(tracing: Tracing, report: Pending, trace: str, said: str) -> None:
    job_id, attempt = report.key
    about = {"messaging.message.id": str(job_id), "distriqueue.job.attempt": attempt, "distriqueue.answer": said}
    tracing.record(
        "report",
        kind="client",
        parent=trace,
        began_ns=report.since_ns,
        error=None if said == Answer.ACCEPTED else said,
        **about,
    )
