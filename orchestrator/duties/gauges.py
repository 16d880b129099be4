"""Looks at the whole cluster for the metrics: lanes, jobs, workers. Shown by the leader only, so add nothing up."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from distriqueue.core.job import Priority
from distriqueue.core.ports import Broker, LaneDepth
from distriqueue.core.states import Status
from distriqueue.store.dashboard import DashboardStore
from distriqueue.store.routing import LaneBacklog, LaneControl, RoutingStore
from distriqueue.store.server import ServerFigures, ServerStore
from distriqueue.store.statistics import StatisticsStore
from distriqueue.store.workers import Crowd, WorkerState, WorkerStore
from orchestrator.cluster.leadership import Leadership
from orchestrator.duties.duty import Outcome

LIVING: Final = (WorkerState.ACTIVE, WorkerState.IDLE, WorkerState.OVERLOADED)
"""Workers that take jobs."""
STALE_S: Final = 30.0
"""What was seen longer ago is not shown any more."""


@dataclass(slots=True)
class _Seen:
    """What was seen last, and when."""

    at_s: float = float("-inf")
    stored: Mapping[str, int] = field(default_factory=dict)
    backlogs: Mapping[Priority, LaneBacklog] = field(default_factory=dict)
    queued: Mapping[Priority, tuple[int, bool]] = field(default_factory=dict)
    controls: Mapping[Priority, LaneControl] = field(default_factory=dict)
    crowds: Mapping[WorkerState, Crowd] = field(default_factory=dict)
    server: ServerFigures | None = None
    depths: Mapping[Priority, LaneDepth] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures are read."""

    statistics: StatisticsStore
    routing: RoutingStore
    dashboard: DashboardStore
    workers: WorkerStore
    server: ServerStore
    broker: Broker


class Gauges(Collector):
    """A duty, and the collector of what it saw: register it with the process's registry."""

    name: Final = "gauges"
    interval_s: Final = 5.0

    def __init__(
        self, sources: Sources, leadership: Leadership, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._sources = sources
        self._leadership = leadership
        self._seen = _Seen()

    async def run(self, epoch: int) -> Outcome:  # noqa: ARG002 - it writes nothing, so there is nothing to fence
        """Look once; StoreUnavailable, and BrokerUnavailable leaves all but the broker's own depths."""
        sources = self._sources
        self._seen = _Seen(
            self._clock(),
            await sources.statistics.stored(),
            await sources.routing.backlogs(),
            await sources.dashboard.queued(),
            await sources.routing.lanes(),
            await sources.workers.crowds(),
            await sources.server.read(),
        )
        self._seen.depths = await sources.broker.depths()
        return Outcome(0)

    def collect(self) -> Iterator[Metric]:
        """Yield what was seen last, while this node leads."""
        if self._leadership.epoch() is None or self._clock() - self._seen.at_s > STALE_S:
            return
        yield from self._jobs()
        yield from self._lanes()
        yield from self._workers()
        if self._seen.server is not None:
            yield from _postgres(self._seen.server)

    def _jobs(self) -> Iterator[GaugeMetricFamily]:
        yield _family(
            "jobs",
            "Stored jobs in each status, as of some seconds ago.",
            ["status"],
            {(status.value,): self._seen.stored.get(status.value, 0) for status in Status},
        )

    def _lanes(self) -> Iterator[GaugeMetricFamily]:
        seen = self._seen
        waiting: dict[tuple[str, ...], float] = {
            (lane.value, "pending"): backlog.pending for lane, backlog in seen.backlogs.items()
        }
        waiting |= {(lane.value, "queued"): jobs for lane, (jobs, _) in seen.queued.items()}
        yield _family(
            "queue_depth",
            "Jobs of a priority that wait for a dispatch (pending) or in the broker (queued), up to 10000 each.",
            ["lane", "status"],
            waiting,
        )
        yield _family(
            "queue_oldest_seconds",
            "For how long the oldest pending or queued job of a priority has waited.",
            ["lane"],
            {(lane.value,): backlog.oldest_s for lane, backlog in seen.backlogs.items()},
        )
        yield _family(
            "lane_paused",
            "1 while an operator lets the lane rest.",
            ["lane"],
            {(lane.value,): control.paused for lane, control in seen.controls.items()},
        )
        yield _family(
            "broker_ready",
            "Dispatches in the broker that no worker has; on RabbitMQ messages, of one dispatch or more.",
            ["lane"],
            {(lane.value,): depth.ready for lane, depth in seen.depths.items()},
        )
        yield _family(
            "broker_consumers",
            "Workers that take from the lane.",
            ["lane"],
            {(lane.value,): depth.consumers for lane, depth in seen.depths.items()},
        )

    def _workers(self) -> Iterator[GaugeMetricFamily]:
        crowds = self._seen.crowds
        yield _family(
            "workers",
            "Workers in each state.",
            ["state"],
            {(state.value,): each.workers for state, each in crowds.items()},
        )
        living = [crowds[state] for state in LIVING if state in crowds]
        taken = sum(min(crowd.load, crowd.slots) for crowd in living)
        free = sum(crowd.slots for crowd in living) - taken
        yield _family(
            "worker_slots",
            "Jobs that the workers which take jobs can run at once: in use, and free.",
            ["state"],
            {("busy",): taken, ("free",): free},
        )


def _postgres(server: ServerFigures) -> Iterator[Metric]:
    ended = CounterMetricFamily("distriqueue_postgres_transactions", "Transactions that ended.", labels=["outcome"])
    ended.add_metric(["committed"], server.commits)
    ended.add_metric(["rolled_back"], server.rollbacks)
    blocks = CounterMetricFamily("distriqueue_postgres_blocks", "Blocks read, by where they were.", labels=["from"])
    blocks.add_metric(["cache"], server.blocks_hit)
    blocks.add_metric(["elsewhere"], server.blocks_read)
    yield from (ended, blocks)
    yield CounterMetricFamily("distriqueue_postgres_deadlocks", "Deadlocks that Postgres broke.", server.deadlocks)
    yield CounterMetricFamily("distriqueue_postgres_temp_bytes", "Written to temporary files.", server.temp_bytes)
    for name, says, value in (
        ("size_bytes", "Size of the database.", server.size_bytes),
        ("connections", "Connections to the database.", server.connections),
        ("connections_limit", "Most connections of the server.", server.max_connections),
        ("oldest_transaction_seconds", "Age of the oldest open transaction.", server.oldest_transaction_s),
    ):
        yield GaugeMetricFamily(f"distriqueue_postgres_{name}", says, value)
    of = [(table.name,) for table in server.tables]
    for name, says, values in (
        ("table_bytes", "Size of a table with its indexes.", [table.size_bytes for table in server.tables]),
        ("table_rows", "Rows of a table, estimated.", [table.live_rows for table in server.tables]),
        ("table_dead_rows", "Rows that vacuum is to remove, estimated.", [table.dead_rows for table in server.tables]),
    ):
        yield _family(f"postgres_{name}", says, ["table"], dict(zip(of, values, strict=True)))


def _family(name: str, says: str, labels: list[str], values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"distriqueue_{name}", says, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
