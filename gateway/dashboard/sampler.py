"""The figures of the last hour: one loop reads them for all tabs, often while someone looks, and seldom otherwise.

The store's sums only ever grow, so what two readings differ by is exact however far they are apart: a gateway that
nobody looked at has fewer points, not wrong ones.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from distriqueue.core.errors import StoreUnavailable, Unavailable
from distriqueue.core.job import Priority
from distriqueue.core.ports import LaneDepth
from distriqueue.lifecycle import run_every
from distriqueue.store.dashboard import DashboardStore
from distriqueue.store.routing import LaneBacklog, LaneControl, RoutingStore
from distriqueue.store.statistics import Figures, StatisticsStore
from distriqueue.store.workers import WorkerState, WorkerStore
from gateway.depths import Depths

WATCHED_S: Final = 2.0
IDLE_S: Final = 15.0
LINGER_S: Final = 60.0
"""So long after the last look it still counts as watched."""
KEPT: Final = 1_800
WINDOW_S: Final = 3_600.0
BUCKET_S: Final = 15.0
"""Of the charts, once they show more than a quarter of an hour; before, they have some POINTS."""
POINTS: Final = 60
MAX_WORKERS: Final = 1_000
ALIVE: Final = (WorkerState.ACTIVE, WorkerState.IDLE, WorkerState.OVERLOADED)


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane at one instant."""

    priority: Priority
    control: LaneControl
    backlog: LaneBacklog
    depth: LaneDepth | None
    """None while the broker does not answer. RabbitMQ counts messages, which hold several jobs."""
    queued: int = 0
    """Jobs that the broker was given, and no worker has claimed yet."""
    all_queued: bool = True
    """Whether `queued` is all of them."""

    @property
    def waiting(self) -> int:
        """Jobs that wait for the broker or in it."""
        return self.backlog.pending + self.queued

    @property
    def is_exact(self) -> bool:
        """Whether no more than `waiting` wait."""
        return self.backlog.is_exact and self.all_queued


@dataclass(frozen=True, slots=True)
class Sample:
    """All figures at one instant."""

    at_s: float
    """By the monotonic clock."""
    at: datetime
    figures: Figures
    lanes: Sequence[Lane]
    workers: Sequence[Mapping[str, Any]]

    @property
    def oldest_s(self) -> float:
        """For how long the job has waited that has waited longest."""
        return max((lane.backlog.oldest_s for lane in self.lanes), default=0.0)

    @property
    def living(self) -> list[Mapping[str, Any]]:
        """The workers that take jobs."""
        return [row for row in self.workers if row["state"] in ALIVE]

    @property
    def saturation(self) -> float | None:
        """The share of the living workers' places that is taken; None without any."""
        capacity = sum(row["capacity"] for row in self.living)
        return sum(row["load"] for row in self.living) / capacity if capacity else None


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened from one sample to another."""

    seconds: float
    submitted: int
    completed: int
    failed: int
    ended: int
    queue_s: float | None
    """How long attempts waited, on average."""
    run_s: float | None
    """How long completed attempts ran, on average."""

    @property
    def ended_per_min(self) -> float:
        """Jobs that ended, a minute."""
        return 60 * self.ended / self.seconds

    @property
    def submitted_per_min(self) -> float:
        """Jobs that came, a minute."""
        return 60 * self.submitted / self.seconds

    @property
    def failure_share(self) -> float | None:
        """Failed of all that completed or failed."""
        over = self.completed + self.failed
        return self.failed / over if over else None


@dataclass(slots=True)
class Point:
    """One bucket of the charts."""

    at_s: int
    """Unix time of its end."""
    rates: Rates
    oldest_s: float
    saturation: float | None
    waiting: Mapping[Priority, int]


@dataclass(slots=True)
class Sampler:
    """Reads, and keeps what it read."""

    statistics: StatisticsStore
    routing: RoutingStore
    depths: Depths
    workers: WorkerStore
    dashboard: DashboardStore
    error: str | None = None
    """Why the last reading failed; None when it did not."""
    _samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=KEPT))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _watched_until_s: float = 0.0
    _read_at_s: float = 0.0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def latest(self) -> Sample | None:
        """The newest reading."""
        return self._samples[-1] if self._samples else None

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`."""
        await run_every(WATCHED_S, self._step, name="sampler", stop=stop, wake=self._wake)

    async def watch(self, *, timeout_s: float = 5.0) -> Sample:
        """Say that someone looks, and return a reading that is not stale; StoreUnavailable when there is none."""
        now_s = time.monotonic()
        self._watched_until_s = now_s + LINGER_S
        if now_s > self._read_at_s + 2 * WATCHED_S:
            news = self._news
            self._wake.set()
            try:
                async with asyncio.timeout(timeout_s):
                    await news.wait()
            except TimeoutError:
                raise StoreUnavailable(f"no figures within {timeout_s:g} s") from None
        if self.latest is None or self.error is not None:
            raise StoreUnavailable(self.error or "there are no figures yet")
        return self.latest

    def rates(self, seconds: float) -> Rates | None:
        """Return what happened in the last so many seconds, as far back as there are samples; None for too few."""
        if len(self._samples) < 2:
            return None
        last = self._samples[-1]
        first = next(sample for sample in self._samples if sample.at_s >= last.at_s - seconds - WATCHED_S / 2)
        if first is last:
            first = self._samples[-2]
        return _rates(first, last)

    def points(self) -> list[Point]:
        """Return the last hour in buckets, oldest first; those without samples are joined to the next."""
        found: list[Point] = []
        shown = [sample for sample in self._samples if self._samples[-1].at_s - sample.at_s <= WINDOW_S]
        bucket_s = min((shown[-1].at_s - shown[0].at_s) / POINTS, BUCKET_S) if shown else BUCKET_S
        start: Sample | None = None
        for sample in shown:
            if start is None:
                start = sample
            elif sample.at_s - start.at_s >= bucket_s:
                rates = _rates(start, sample)
                waiting = {lane.priority: lane.waiting for lane in sample.lanes}
                found.append(Point(int(sample.at.timestamp()), rates, sample.oldest_s, sample.saturation, waiting))
                start = sample
        return found

    async def _step(self) -> bool:
        now_s = time.monotonic()
        if now_s >= self._watched_until_s and now_s < self._read_at_s + IDLE_S and self._samples:
            return False
        try:
            self._samples.append(await self._read())
            self.error = None
        except Unavailable as exc:
            self.error = exc.message
            raise
        finally:
            self._read_at_s = time.monotonic()
            news, self._news = self._news, asyncio.Event()
            news.set()
        return False

    async def _read(self) -> Sample:
        figures = await self.statistics.read(None, None)
        controls, backlogs = await self.routing.lanes(), await self.routing.backlogs()
        queued = await self.dashboard.queued()
        workers = await self.workers.page(after="", limit=MAX_WORKERS)
        depths = await self.depths.read() or {}
        lanes = [Lane(lane, controls[lane], backlogs[lane], depths.get(lane), *queued[lane]) for lane in Priority]
        return Sample(time.monotonic(), datetime.now(UTC), figures, lanes, workers)


def _rates(first: Sample, last: Sample) -> Rates:
    before, after = first.figures.overall, last.figures.overall
    completed, failed = after.completed - before.completed, after.failed - before.failed
    return Rates(
        seconds=max(last.at_s - first.at_s, 0.001),
        submitted=max(after.jobs - before.jobs, 0),
        completed=max(completed, 0),
        failed=max(failed, 0),
        ended=max(completed + failed + after.cancelled - before.cancelled, 0),
        queue_s=_mean_s(after.queue_ms - before.queue_ms, after.started - before.started),
        run_s=_mean_s(after.run_ms - before.run_ms, completed),
    )


def _mean_s(total_ms: float, number: int) -> float | None:
    return max(total_ms, 0.0) / number / 1000 if number > 0 else None
