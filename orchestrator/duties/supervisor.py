"""Runs the duties while this node leads: each in a loop of its own, with a report of its last run."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from distriqueue.core.errors import Fenced, Unavailable
from distriqueue.core.retry import Uniform, backoff_s
from distriqueue.lifecycle import first_of
from distriqueue.telemetry import get_logger
from orchestrator.cluster.leadership import Leadership
from orchestrator.duties.duty import Duty, Outcome

log = get_logger("duties")

NOT_LEADING_S: Final = 1.0
"""How long a loop sleeps while another node leads, unless it is woken."""
MIN_PAUSE_S: Final = 0.01
JITTER: Final = 0.25
"""An interval is shortened by a draw of up to this part of it, so that duties do not march in step."""


@dataclass(slots=True)
class Report:
    """What became of a duty's runs in this process; times are this node's, for people."""

    runs: int = 0
    done: int = 0
    failures: int = 0
    """Runs that raised; `failures_in_row` of them just now."""
    failures_in_row: int = 0
    last_run_at: datetime | None = None
    last_duration_s: float | None = None
    last_done: int | None = None
    last_success: float | None = None
    """By the monotonic clock: the cluster resigns when no duty gets on."""
    last_error: str | None = None
    last_error_at: datetime | None = None
    note: str | None = None


class Observer(Protocol):
    """What is told of every run, for the metrics."""

    def duty_ran(self, duty: str, *, done: int, duration_s: float) -> None:
        """Hear of a run that ended well."""

    def duty_failed(self, duty: str) -> None:
        """Hear of a run that raised Fenced or Unavailable."""


@dataclass(slots=True)
class _Loop:
    duty: Duty
    report: Report = field(default_factory=Report)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Owner of the duties. Any error of a duty but Fenced and Unavailable is a bug: it ends the process."""

    def __init__(
        self,
        duties: Sequence[Duty],
        leadership: Leadership,
        *,
        observer: Observer,
        rng: Uniform | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loops = [_Loop(duty) for duty in duties]
        self._leadership = leadership
        self._observer = observer
        self._rng = rng or random.SystemRandom()
        self._clock = clock
        leadership.watch(self.wake)

    @property
    def reports(self) -> Mapping[str, Report]:
        """The report of each duty, by its name."""
        return {loop.duty.name: loop.report for loop in self._loops}

    def wake(self) -> None:
        """Let every duty look now: leadership has changed."""
        for loop in self._loops:
            loop.wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run all until stopped; a run that is under way is let end."""
        async with asyncio.TaskGroup() as group:
            for loop in self._loops:
                group.create_task(self._run(loop, stop), name=f"duty:{loop.duty.name}")

    async def _run(self, loop: _Loop, stop: asyncio.Event) -> None:
        while not stop.is_set():
            loop.wake.clear()
            epoch = self._leadership.epoch()
            pause_s = NOT_LEADING_S if epoch is None else await self._step(loop, epoch)
            if pause_s > 0:
                await first_of(stop, loop.wake, timeout_s=max(pause_s, MIN_PAUSE_S))
            else:
                await asyncio.sleep(0)

    async def _step(self, loop: _Loop, epoch: int) -> float:
        """Run the duty once and return how long to pause."""
        duty, report = loop.duty, loop.report
        started = self._clock()
        report.runs += 1
        report.last_run_at = datetime.now(UTC)
        try:
            outcome = await duty.run(epoch)
        except (Fenced, Unavailable) as exc:
            if isinstance(exc, Fenced):
                self._leadership.fenced(epoch)
            return self._failed(duty, report, exc)
        finally:
            report.last_duration_s = self._clock() - started
        self._succeeded(duty, report, outcome)
        if outcome.more:
            return 0.0
        pause_s = duty.interval_s * (1 - JITTER * self._rng.random())
        return pause_s if outcome.next_in_s is None else max(min(pause_s, outcome.next_in_s), MIN_PAUSE_S)

    def _succeeded(self, duty: Duty, report: Report, outcome: Outcome) -> None:
        if report.failures_in_row:
            log.info("duty_recovered", duty=duty.name, failures=report.failures_in_row)
        report.failures_in_row = 0
        report.last_success = self._clock()
        report.last_done = outcome.done
        report.done += outcome.done
        report.note = outcome.note
        self._observer.duty_ran(duty.name, done=outcome.done, duration_s=report.last_duration_s or 0.0)

    def _failed(self, duty: Duty, report: Report, exc: Fenced | Unavailable) -> float:
        report.failures += 1
        report.failures_in_row += 1
        report.last_done = None
        report.last_error = exc.message
        report.last_error_at = datetime.now(UTC)
        pause_s = max(duty.interval_s, backoff_s(report.failures_in_row, self._rng))
        self._observer.duty_failed(duty.name)
        log.warning(
            "duty_failed",
            duty=duty.name,
            code=exc.code,
            error=exc.message,
            failures=report.failures_in_row,
            pause_s=round(pause_s, 3),
        )
        return pause_s
