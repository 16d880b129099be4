"""What one orchestrator counts; the leader counts besides what becomes of jobs, wherever that is done."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, get_args

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from distriqueue import __version__
from distriqueue.core.job import Priority
from distriqueue.core.states import TERMINAL, Status
from distriqueue.store.database import Database
from distriqueue.store.duties import Reaped
from distriqueue.store.statistics import Steps
from distriqueue.telemetry.metrics import (
    CALL_BUCKETS_S,
    JOB_BUCKETS_S,
    LoopLag,
    PoolUse,
    Publishes,
    Tallied,
    new_registry,
)
from orchestrator.cluster.leadership import Leadership
from orchestrator.cluster.wire import Refusal

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_DELIVERED: Final = {
    Status.COMPLETED.value: "delivered",
    Status.FAILED.value: "failed",
    Status.TIMEOUT.value: "failed",
    Status.CANCELLED.value: "cancelled",
    Status.RETRYING.value: "retried",
}


class Metrics:
    """The process's figures, and the hooks that count them."""

    def __init__(self) -> None:
        self._registry = registry = new_registry("orchestrator", version=__version__)
        self.lag = LoopLag(registry)
        self.published = Publishes(registry).told
        self.lifetimes = Lifetimes()
        registry.register(self.lifetimes)
        attempts = Counter("distriqueue_attempts", "Attempts that ended, by how.", ["outcome"], registry=registry)
        self._lost, self._overdue = attempts.labels("lost"), attempts.labels("timeout")
        self._runs = Histogram(
            "distriqueue_duty_seconds", "Runs of a duty.", ["duty"], buckets=JOB_BUCKETS_S, registry=registry
        )
        self._done = Counter("distriqueue_duty_done", "Jobs or workers handled.", ["duty"], registry=registry)
        self._failed = Counter(
            "distriqueue_duty_failures", "Runs that failed: fenced, or a part was away.", ["duty"], registry=registry
        )
        self._flushes = Histogram(
            "distriqueue_heartbeat_flush_seconds",
            "Recordings of heartbeats.",
            buckets=CALL_BUCKETS_S,
            registry=registry,
        )
        self._beats = Counter("distriqueue_heartbeats", "Workers' heartbeats recorded.", registry=registry)
        self._flush_failures = Counter(
            "distriqueue_heartbeat_flush_failures", "Recordings of heartbeats that failed.", registry=registry
        )

    def watch(
        self, leadership: Leadership, databases: Sequence[Database] = (), is_connected: Callable[[], bool] | None = None
    ) -> None:
        """Show also what other parts know at any time."""
        self._registry.register(_Cluster(leadership))
        if databases:
            self._registry.register(PoolUse(lambda: _added_up(databases)))
        if is_connected is not None:
            up = Gauge("distriqueue_broker_up", "1 while the connection to the broker is up.", registry=self._registry)
            up.set_function(is_connected)

    def register(self, collector: Collector) -> None:
        """Show what another part collects."""
        self._registry.register(collector)

    def expect(self, duties: Iterable[str]) -> None:
        """Show these duties from the start on."""
        for duty in duties:
            for each in (self._runs, self._done, self._failed):
                each.labels(duty)

    def duty_ran(self, duty: str, *, done: int, duration_s: float) -> None:
        """Count a run that ended well."""
        self._runs.labels(duty).observe(duration_s)
        self._done.labels(duty).inc(done)

    def duty_failed(self, duty: str) -> None:
        """Count a run that raised."""
        self._failed.labels(duty).inc()

    def reaped(self, reaped: Reaped) -> None:
        """Count attempts that the leader ended."""
        self._lost.inc(len(reaped.lost))
        self._overdue.inc(len(reaped.overdue))

    def flushed(self, *, beats: int, duration_s: float) -> None:
        """Count a recording of heartbeats."""
        self._flushes.observe(duration_s)
        self._beats.inc(beats)

    def flush_failed(self) -> None:
        """Count one that failed."""
        self._flush_failures.inc()

    def expose(self) -> bytes:
        """Return the figures as text."""
        return generate_latest(self._registry)


class Lifetimes(Collector):
    """What became of jobs, from the event log, of which each part is summed up once, by whoever leads then.

    So a job counts once, through however many gateways and workers its way has led; what no Prometheus had scraped
    when a leader died is missing.
    """

    bounds_s: Final = JOB_BUCKETS_S

    def __init__(self) -> None:
        priorities = [lane.value for lane in Priority]
        self._submitted: Tally[tuple[str, ...]] = Tally({(lane,): 0 for lane in priorities})
        self._finished: Tally[tuple[str, ...]] = Tally(
            {(status.value, lane): 0 for status in sorted(TERMINAL) for lane in priorities}
        )
        self._retries: Tally[tuple[str, ...]] = Tally({(lane,): 0 for lane in priorities})
        self._deliveries: Tally[tuple[str, ...]] = Tally({(outcome,): 0 for outcome in _DELIVERED.values()})
        self._waits, self._runs, self._totals = (
            {lane: Tallied(self.bounds_s) for lane in priorities} for _ in range(3)
        )

    def told(self, steps: Sequence[Steps]) -> None:
        """Count what a roll-up passed."""
        for each in steps:
            if each.was is None:
                self._submitted[each.priority,] += each.jobs
            if each.status in TERMINAL:
                self._finished[each.status, each.priority] += each.jobs
            if each.status == Status.RETRYING:
                self._retries[each.priority,] += each.jobs
            if each.is_webhook and each.status in _DELIVERED:
                self._deliveries[_DELIVERED[each.status],] += each.jobs
            if each.took_bucket is not None:
                times = self._waits if each.status == Status.RUNNING else self._runs
                times[each.priority].add(each.took_bucket, each.jobs, each.took_s)
            if each.total_bucket is not None:
                self._totals[each.priority].add(each.total_bucket, each.jobs, each.total_s)

    def collect(self) -> Iterator[Metric]:
        """Yield what was counted."""
        yield _counter("jobs_submitted", "Jobs that were stored, whoever submitted them.", ["lane"], self._submitted)
        yield _counter("jobs_finished", "Jobs that ended.", ["status", "lane"], self._finished)
        yield _counter("retries", "Attempts that ended badly and are made again.", ["lane"], self._retries)
        yield _counter("webhook_deliveries", "Attempts to deliver a webhook.", ["outcome"], self._deliveries)
        for name, says, times in (
            ("job_wait_seconds", "From when a job could start to its start.", self._waits),
            ("job_run_seconds", "From an attempt's start to its end.", self._runs),
            ("job_total_seconds", "From a job's submission to its end, unless it was cancelled.", self._totals),
        ):
            family = HistogramMetricFamily(f"distriqueue_{name}", says, labels=["lane"])
            for lane, tallied in times.items():
                tallied.show(family, [lane])
            yield family


class _Cluster(Collector):
    """Reads what the election counts, when it is asked: the election's thread knows nothing of metrics."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as of now."""
        status, figures, epoch = self._leadership.status(), self._leadership.figures(), self._leadership.epoch()
        yield GaugeMetricFamily("distriqueue_is_leader", "1 while this node leads.", epoch is not None)
        yield GaugeMetricFamily("distriqueue_epoch", "Epoch that this node holds, 0 for none.", epoch or 0)
        raft = "distriqueue_raft"
        yield GaugeMetricFamily(f"{raft}_term", "Term of the election that this node knows.", status.term)
        yield CounterMetricFamily(f"{raft}_elections", "Elections this node stood for.", figures.elections)
        yield CounterMetricFamily(f"{raft}_elections_won", "Elections this node won.", figures.wins)
        yield CounterMetricFamily("distriqueue_fenced_commits", "Commits refused by the fence.", figures.fenced)
        refused = CounterMetricFamily(
            f"{raft}_requests_refused", "Requests of other nodes not acted on.", labels=["reason"]
        )
        for reason in get_args(Refusal):
            refused.add_metric([reason], figures.refused.get(reason, 0))
        yield refused
        lag = GaugeMetricFamily(f"{raft}_peer_lag_seconds", "Since the last word of a node.", labels=["peer"])
        for peer in status.peers:
            if peer.last_contact_s is not None:
                lag.add_metric([peer.node], peer.last_contact_s)
        yield lag


def _counter(name: str, says: str, labels: list[str], counts: Tally[tuple[str, ...]]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"distriqueue_{name}", says, labels=labels)
    for of, count in counts.items():
        family.add_metric(of, count)
    return family


def _added_up(databases: Sequence[Database]) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for database in databases:
        for pool, (busy, idle, most) in database.use().items():
            before = found[pool]
            found[pool] = (before[0] + busy, before[1] + idle, before[2] + most)
    return dict(found)
