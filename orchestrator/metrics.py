"""Figures for Prometheus, under `distriqueue_orchestrator_`; labels are bounded by the code."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from distriqueue.store.workers import WorkerState
from orchestrator.cluster.leadership import Leadership

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What the parts of one process report; a registry of its own, so that tests can have many."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        prefix = "distriqueue_orchestrator"
        self._leader = Gauge(f"{prefix}_leader", "1 while this node leads.", registry=self._registry)
        self._epoch = Gauge(f"{prefix}_epoch", "Epoch that this node holds, 0 for none.", registry=self._registry)
        self._runs = Histogram(
            f"{prefix}_duty_seconds", "Runs of a duty.", ["duty"], buckets=_BUCKETS_S, registry=self._registry
        )
        self._done = Counter(f"{prefix}_duty_done", "Jobs or workers handled.", ["duty"], registry=self._registry)
        self._failed = Counter(
            f"{prefix}_duty_failures",
            "Runs that failed: fenced, or a part was away.",
            ["duty"],
            registry=self._registry,
        )
        self._flushes = Histogram(
            f"{prefix}_flush_seconds", "Recordings of heartbeats.", buckets=_BUCKETS_S, registry=self._registry
        )
        self._beats = Counter(f"{prefix}_workers_recorded", "Workers' states recorded.", registry=self._registry)
        self._flush_failures = Counter(
            f"{prefix}_flush_failures", "Recordings of heartbeats that failed.", registry=self._registry
        )
        self._workers = Gauge("distriqueue_workers", "Workers in each state.", ["state"], registry=self._registry)

    def watch(self, leadership: Leadership) -> None:
        """Show the figures of the cluster too."""
        self._registry.register(_Cluster(leadership))

    def register(self, collector: Collector) -> None:
        """Show what another part collects."""
        self._registry.register(collector)

    def duty_ran(self, duty: str, *, done: int, duration_s: float) -> None:
        """Count a run that ended well."""
        self._runs.labels(duty).observe(duration_s)
        self._done.labels(duty).inc(done)

    def duty_failed(self, duty: str) -> None:
        """Count a run that raised."""
        self._failed.labels(duty).inc()

    def flushed(self, *, beats: int, duration_s: float) -> None:
        """Count a recording of heartbeats."""
        self._flushes.observe(duration_s)
        self._beats.inc(beats)

    def flush_failed(self) -> None:
        """Count one that failed."""
        self._flush_failures.inc()

    def expose(self, *, epoch: int | None, workers: Mapping[WorkerState, int] | None) -> bytes:
        """Return the figures as text; without the workers' when Postgres is away."""
        self._leader.set(epoch is not None)
        self._epoch.set(epoch or 0)
        self._workers.clear()
        for state, count in (workers or {}).items():
            self._workers.labels(state.value).set(count)
        return generate_latest(self._registry)


class _Cluster(Collector):
    """Reads what the election counts, when it is asked: the election's thread knows nothing of metrics."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as of now."""
        status, figures = self._leadership.status(), self._leadership.figures()
        prefix = "distriqueue_orchestrator"
        yield GaugeMetricFamily(f"{prefix}_term", "Term of the election that this node knows.", status.term)
        yield CounterMetricFamily(f"{prefix}_elections", "Elections this node stood for.", figures.elections)
        yield CounterMetricFamily(f"{prefix}_elections_won", "Elections this node won.", figures.wins)
        yield CounterMetricFamily(f"{prefix}_fenced_commits", "Commits refused by the fence.", figures.fenced)
        refused = CounterMetricFamily(
            f"{prefix}_election_requests_refused", "Requests of other nodes not acted on.", labels=["reason"]
        )
        for reason, count in figures.refused.items():
            refused.add_metric([reason], count)
        yield refused
        silence = GaugeMetricFamily(f"{prefix}_peer_silence_seconds", "Since the last word of a node.", labels=["peer"])
        for peer in status.peers:
            if peer.last_contact_s is not None:
                silence.add_metric([peer.node], peer.last_contact_s)
        yield silence
