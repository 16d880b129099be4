"""Figures for Prometheus, as far as all services have the same: `distriqueue_`, base units, labels bounded by the code.

Whoever counts often binds its children once (`counter.labels(…)` looks its child up anew each time), and counts a batch
at a time where there are batches.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Final, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

JOB_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Of what jobs wait for: 5 ms to an hour."""
CALL_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of what someone waits for: 1 ms to 10 s."""
BATCH_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Of batches, which hold a thousand at most."""

LAG_EVERY_S: Final = 0.25
LAG_WINDOW_S: Final = 15.0
"""A scrape every so often misses no stall."""


def new_registry(service: str, *, version: str) -> CollectorRegistry:
    """Return a registry with the figures that every process has; its own, so that tests can have many."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    build = Gauge("distriqueue_build_info", "1; which version this is.", ["service", "version"], registry=registry)
    build.labels(service, version).set(1)
    return registry


class LoopLag:
    """How late the event loop comes to what is due: the most of the last LAG_WINDOW_S, or a little longer."""

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = 0.0
        self._most_s = [0.0, 0.0]
        """Of this window, and of the one before."""
        self._turn_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        gauge = Gauge(
            "distriqueue_event_loop_lag_seconds",
            "Most that the event loop was late in the last 15 to 30 seconds.",
            registry=registry,
        )
        gauge.set_function(lambda: max(self._most_s))

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the running loop until the block ends."""
        self._turn_at = self._clock() + LAG_WINDOW_S
        self._wait(asyncio.get_running_loop())
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = self._clock() + LAG_EVERY_S
        self._timer = loop.call_later(LAG_EVERY_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock()
        if now >= self._turn_at:
            self._most_s = [0.0, self._most_s[0]]
            self._turn_at = now + LAG_WINDOW_S
        self._most_s[0] = max(self._most_s[0], now - self._due)
        self._wait(loop)


OnPublished: TypeAlias = Callable[[int, int, float], None]
"""Told of each batch given to the broker: how many it confirmed, how many not, and how many seconds it took."""


def unseen(_confirmed: int, _left: int, _took_s: float) -> None:
    """Nobody wants to know of publishes."""


class Publishes:
    """Counts what is given to the broker: `told` is an OnPublished."""

    def __init__(self, registry: CollectorRegistry) -> None:
        publishes = Counter(
            "distriqueue_publishes", "Dispatches given to the broker, by outcome.", ["outcome"], registry=registry
        )
        self._confirmed, self._left = publishes.labels("confirmed"), publishes.labels("left")
        self._took = Histogram(
            "distriqueue_publish_confirm_seconds",
            "From giving the broker a batch of dispatches to the last word on it.",
            buckets=CALL_BUCKETS_S,
            registry=registry,
        )

    def told(self, confirmed: int, left: int, took_s: float) -> None:
        """Count one batch."""
        self._confirmed.inc(confirmed)
        self._left.inc(left)
        self._took.observe(took_s)


class PoolUse(Collector):
    """How many connections to Postgres there are; `read` returns by pool its busy and idle ones, and its limit."""

    def __init__(self, read: Callable[[], Mapping[str, tuple[int, int, int]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the figures as of now."""
        name = "distriqueue_store_connections"
        connections = GaugeMetricFamily(name, "Connections to Postgres.", labels=["pool", "state"])
        limit = GaugeMetricFamily(f"{name}_limit", "Most connections of a pool.", labels=["pool"])
        for pool, (busy, idle, most) in self._read().items():
            connections.add_metric([pool, "busy"], busy)
            connections.add_metric([pool, "idle"], idle)
            limit.add_metric([pool], most)
        yield from (connections, limit)


class Tallied:
    """One histogram that is counted elsewhere and added a bucket at a time."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, bucket: int, count: int, total: float) -> None:
        """Add `count` values of the bucket, which begins at `bounds[bucket - 1]`, and whose sum is `total`."""
        self._counts[bucket] += count
        self._sum += total

    def show(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add what was counted to the family."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        family.add_metric(labels, list(zip(names, accumulate(self._counts), strict=True)), self._sum)
