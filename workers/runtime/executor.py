"""Runs accepted attempts, each in a slot, each with a clock, and puts its end into the outbox exactly once."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeAlias

from distriqueue.core.job import JobId
from distriqueue.core.messages import Answer, Dispatch, ReportStatus
from distriqueue.lifecycle import wait_for
from distriqueue.telemetry import get_logger
from distriqueue.telemetry.tracing import Tracing, attributes_of, trace_id
from workers.handlers.registry import Registry
from workers.runtime.attempt import Attempt, OnFree, Stop
from workers.runtime.joblog import Line
from workers.runtime.outcome import INTERRUPTED, RELEASED, Outcome, cut, failure, unknown_type
from workers.runtime.pending import NOTHING, Granted, OnAnswer
from workers.runtime.processes import ProcessRunner
from workers.runtime.provided import NotProvided, Provided
from workers.runtime.recent import AttemptKey, key_of
from workers.runtime.runner import LoopRunner, Runner
from workers.runtime.threads import ThreadRunner
from workers.runtime.turns import Turns

log = get_logger("worker.executor")

PROGRESS_EVERY_S: Final = 0.25
MAX_PROGRESS_CHARS: Final = 500
"""What a report takes; a longer message is cut."""
TURN_S: Final = 2.0
"""An attempt that waits longer for others of its type is given back: another worker may have room."""


OnEnded: TypeAlias = Callable[[str, ReportStatus, float], None]
"""Told of each attempt that had a handler: its type, how it ended, and after how many seconds."""


class Reports(Protocol):
    """Where ends and progress go."""

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
        """Take the latest progress, lines of the job's log and a checkpoint; any of these may be missing."""

    def end(self, key: AttemptKey, outcome: Outcome) -> None:
        """Take the end."""


class Executor:
    """The slots. A handler that will not stop is abandoned: its end is reported, its slot given to another.

    At most `capacity` handlers are abandoned that way; further ones keep their slots until they end, so that a
    handler that hangs each time makes the worker idle and visible, and not ever larger.

    What has to wait for others of its type takes no slot, while no more wait than there are slots; the further ones
    count as slots that are used, so that not everything is claimed only to wait here.
    """

    def __init__(
        self,
        registry: Registry,
        reports: Reports,
        *,
        group: asyncio.TaskGroup,
        capacity: int,
        on_ended: OnEnded | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._on_ended = on_ended
        self._tracing = tracing
        self._registry = registry
        self._reports = reports
        self._capacity = capacity
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._provided = Provided(registry.factories, group)
        self._turns = Turns()
        self._attempts: dict[AttemptKey, Attempt] = {}
        self._running = 0
        self._abandoned = 0
        self._ended = asyncio.Event()
        self._runners: dict[str, Runner] = {
            "async": LoopRunner(group, self._done),
            "thread": ThreadRunner(self._done, keep=capacity),
            "process": ProcessRunner(group, self._done, begun=self._start_clock),
        }
        self.used = 0
        """Slots that are taken."""

    @property
    def abandoned(self) -> int:
        """How many handlers go on although their attempts have ended."""
        return self._abandoned

    def holds(self, key: AttemptKey) -> bool:
        """Tell whether the attempt's handler still runs here."""
        return key in self._attempts

    def start(self, dispatch: Dispatch, on_free: OnFree, granted: Granted = NOTHING) -> None:
        """Run an accepted dispatch; `on_free` is called when it leaves its slot, if it has got one.

        A type without handler gets none, nor does what is given back before its turn has come.
        """
        handler = self._registry.get(dispatch.type)
        if handler is None:
            self._end(key_of(dispatch), dispatch, unknown_type(dispatch.type, self._registry.types))
            return
        attempt = Attempt.of(dispatch, handler, on_free, granted)
        attempt.open_context(
            lambda percent, message: self._progress(attempt, percent, message), lambda: self._send_soon(attempt)
        )
        self._attempts[attempt.key] = attempt
        self._running += 1
        if handler.concurrency is None or self._turns.take(attempt):
            self._run(attempt)
        else:
            self._let_wait(attempt)

    def cancel(self, job_id: JobId) -> None:
        """Stop the job's attempt if it runs here; its end is `cancelled`, unless it completes first."""
        for attempt in list(self._attempts.values()):
            if attempt.key[0] == job_id:
                self._stop(attempt, Stop.CANCELLED)

    def release_all(self) -> None:
        """Stop everything that runs, to be run elsewhere."""
        for attempt in list(self._attempts.values()):
            self._stop(attempt, Stop.RELEASED)

    async def idle(self, timeout_s: float) -> bool:
        """Wait until every attempt has ended; False when some have not after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while self._running and (left_s := deadline - time.monotonic()) > 0:
            self._ended.clear()
            await wait_for(self._ended, left_s)
        return not self._running

    async def close(self) -> None:
        """Free threads and child processes."""
        for runner in self._runners.values():
            await runner.close()
        await self._provided.close()

    def _run(self, attempt: Attempt) -> None:
        """Give the attempt a slot and what it needs, and call its handler."""
        self.used += 1
        handler = attempt.handler
        if self._tracing is not None and attempt.dispatch.trace is not None:
            _open_span(self._tracing, attempt, attempt.dispatch.trace)
        if handler.kind != "process":
            self._start_clock(attempt)
        if handler.needs:
            attempt.given = self._provided.given(handler.needs, attempt.context)
            if attempt.given is None:
                attempt.began = True
                attempt.task = self._group.create_task(self._run_when_provided(attempt))
                return
        self._runners[handler.kind].start(attempt)

    async def _run_when_provided(self, attempt: Attempt) -> None:
        needs = attempt.handler.needs
        try:
            await self._provided.wait(needs)
        except NotProvided as exc:
            self._done(attempt, failure(exc.code, exc.message, retryable=exc.retryable))
            return
        except asyncio.CancelledError:
            if attempt.stop is None:
                raise  # not the attempt: the whole worker is being torn down
        if attempt.stop is not None:
            self._done(attempt, INTERRUPTED)
            return
        attempt.given = self._provided.given(needs, attempt.context)
        attempt.began = False
        self._runners[attempt.handler.kind].start(attempt)

    def _let_wait(self, attempt: Attempt) -> None:
        """Keep the attempt until others of its type have ended, but not for long."""
        attempt.waits_for_turn, attempt.in_slot = True, False
        self._turns.wait(attempt)
        if self._turns.waiting > self._capacity:
            self.used += 1
        attempt.timer = self._loop.call_later(TURN_S, self._give_back, attempt)

    def _leave_line(self, attempt: Attempt) -> None:
        attempt.waits_for_turn = False
        if self._turns.waiting > self._capacity:
            self.used -= 1
        self._turns.leave(attempt)
        if attempt.timer is not None:
            attempt.timer.cancel()

    def _give_back(self, attempt: Attempt, outcome: Outcome = RELEASED) -> None:
        """End an attempt that has not got its turn."""
        self._leave_line(attempt)
        del self._attempts[attempt.key]
        attempt.ended = True
        self._running -= 1
        self._ended.set()
        log.debug("attempt_given_back", status=outcome.status.value, **_ids(attempt.dispatch))
        self._reports.end(attempt.key, outcome)

    def _next_turns(self) -> None:
        """Give the free slots to those whose turn has come."""
        while (attempt := self._turns.next()) is not None:
            if self.used - max(self._turns.waiting - self._capacity, 0) >= self._capacity:
                return
            self._leave_line(attempt)
            self._turns.take(attempt)
            attempt.in_slot = True
            attempt.begin_anew()
            self._run(attempt)

    def _start_clock(self, attempt: Attempt) -> None:
        attempt.timer = self._loop.call_later(attempt.timeout_s, self._stop, attempt, Stop.OVERDUE)

    def _stop(self, attempt: Attempt, reason: Stop) -> None:
        if attempt.ended or attempt.stop is not None:
            return
        attempt.stop = reason
        if attempt.waits_for_turn:
            self._give_back(attempt, attempt.settle(None))
            return
        attempt.context.cancelled.set()
        if attempt.timer is not None:
            attempt.timer.cancel()
        runner = self._runners[attempt.handler.kind]
        attempt.timer = self._loop.call_later(runner.grace_s(reason), self._abandon, attempt)
        runner.stop(attempt)

    def _done(self, attempt: Attempt, outcome: Outcome) -> None:
        """The handler has ended."""
        del self._attempts[attempt.key]
        if attempt.timer is not None:
            attempt.timer.cancel()
        if attempt.handler.concurrency is not None:
            self._turns.ended(attempt)
        if attempt.abandoned:
            self._abandoned -= 1
            log.warning("handler_ended_late", **_ids(attempt.dispatch))
        else:
            self._finish(attempt, outcome)
        self._leave_slot(attempt)

    def _abandon(self, attempt: Attempt) -> None:
        """It was told to stop and goes on: end it for the gateway, and give its slot away while that is bearable."""
        attempt.abandoned = True
        self._abandoned += 1
        log.error("handler_abandoned", abandoned=self._abandoned, kind=attempt.handler.kind, **_ids(attempt.dispatch))
        self._finish(attempt, None)
        if self._abandoned <= self._capacity:
            self._leave_slot(attempt)

    def _finish(self, attempt: Attempt, outcome: Outcome | None) -> None:
        attempt.ended = True
        self._running -= 1
        self._ended.set()
        ended = attempt.settle(outcome)
        if self._on_ended is not None:
            self._on_ended(attempt.dispatch.type, ended.status, time.monotonic() - attempt.started_at)
        lines, checkpoint = attempt.context.last_news()
        if lines or checkpoint is not None:
            ended = replace(ended, lines=lines, checkpoint=checkpoint)
        if self._tracing is not None and attempt.span is not None:
            failed = ended.status in (ReportStatus.FAILED, ReportStatus.TIMEOUT)
            error = (ended.error_type or ended.status.value) if failed else None
            self._tracing.finish(attempt.span, error=error, **{"distriqueue.job.outcome": ended.status.value})
            ended = replace(ended, trace=attempt.dispatch.trace)
        self._end(attempt.key, attempt.dispatch, ended)

    def _end(self, key: AttemptKey, dispatch: Dispatch, outcome: Outcome) -> None:
        if outcome.status is not ReportStatus.COMPLETED:
            log.warning(
                "attempt_ended",
                status=outcome.status.value,
                error_type=outcome.error_type,
                error=outcome.error_message,
                **_ids(dispatch),
            )
        self._reports.end(key, outcome)

    def _leave_slot(self, attempt: Attempt) -> None:
        if attempt.in_slot:
            attempt.in_slot = False
            self.used -= 1
            if self._turns.waiting:
                self._next_turns()
            attempt.on_free(time.monotonic() - attempt.started_at)
        elif self._turns.waiting:
            self._next_turns()

    def _progress(self, attempt: Attempt, percent: float, message: str | None) -> None:
        """Note the latest progress (from any thread) and see that it is sent soon."""
        attempt.progress = (percent, message)
        self._send_soon(attempt)

    def _send_soon(self, attempt: Attempt) -> None:
        if not attempt.progress_due and not attempt.ended:
            attempt.progress_due = True
            self._loop.call_soon_threadsafe(self._send_progress, attempt)

    def _send_progress(self, attempt: Attempt) -> None:
        if attempt.ended:
            return
        now = time.monotonic()
        wait_s = attempt.progress_at + PROGRESS_EVERY_S - now
        if wait_s > 0:
            self._loop.call_later(wait_s, self._send_progress, attempt)
            return
        attempt.progress_due = False
        attempt.progress_at = now
        percent: float | None = None
        message: str | None = None
        latest = attempt.progress
        if latest is not None and latest is not attempt.progress_sent:
            attempt.progress_sent = latest
            percent, message = latest
            message = message and cut(message, MAX_PROGRESS_CHARS)
        lines, checkpoint = attempt.context.news()
        if percent is not None or lines or checkpoint is not None:
            self._reports.progress(
                attempt.key, percent, message, self._progress_answered, lines=lines, checkpoint=checkpoint
            )

    def _progress_answered(self, key: AttemptKey, answer: str, _reason: str | None, _granted: Granted) -> None:
        """A stale progress means that the attempt is no longer ours: stop what nobody waits for."""
        attempt = self._attempts.get(key)
        if answer == Answer.STALE and attempt is not None:
            log.warning("attempt_lost", **_ids(attempt.dispatch))
            self._stop(attempt, Stop.CANCELLED)


def _open_span(tracing: Tracing, attempt: Attempt, trace: str) -> None:
    about = attributes_of(attempt.dispatch)
    attempt.span = tracing.begin(f"run {attempt.dispatch.type}", kind="consumer", parent=trace, **about)
    attempt.scope = tracing.scope(attempt.span)


def _ids(dispatch: Dispatch) -> dict[str, object]:
    ids = {"job_id": str(dispatch.job_id), "attempt": dispatch.attempt, "job_type": dispatch.type}
    return ids if dispatch.trace is None else {**ids, "trace_id": trace_id(dispatch.trace)}
