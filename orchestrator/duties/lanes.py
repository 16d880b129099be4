"""Looks at the lanes for the metrics: depth in the broker, and how long the oldest waits. Shown by the leader only."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from distriqueue.core.job import Priority
from distriqueue.core.ports import Broker, LaneDepth
from distriqueue.store.duties import DutyStore
from orchestrator.cluster.leadership import Leadership
from orchestrator.duties.duty import Outcome


class Lanes(Collector):
    """A duty, and the collector of what it saw: register it with the process's registry."""

    name: Final = "lanes"
    interval_s: Final = 5.0

    def __init__(self, store: DutyStore, broker: Broker, leadership: Leadership) -> None:
        self._store = store
        self._broker = broker
        self._leadership = leadership
        self._oldest: Mapping[Priority, float] = {}
        self._depths: Mapping[Priority, LaneDepth] = {}

    async def run(self, epoch: int) -> Outcome:  # noqa: ARG002 - it writes nothing, so there is nothing to fence
        """Look once; BrokerUnavailable leaves the ages shown and no depths."""
        self._depths = {}
        self._oldest = await self._store.oldest_s()
        self._depths = await self._broker.depths()
        return Outcome(0)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what was seen last, while this node leads."""
        if self._leadership.epoch() is None:
            return
        ready = GaugeMetricFamily(
            "distriqueue_lane_ready", "Jobs, on RabbitMQ messages, in the broker.", labels=["lane"]
        )
        consumers = GaugeMetricFamily("distriqueue_lane_consumers", "Workers that take the lane.", labels=["lane"])
        for lane, depth in self._depths.items():
            ready.add_metric([lane.value], depth.ready)
            consumers.add_metric([lane.value], depth.consumers)
        oldest = GaugeMetricFamily(
            "distriqueue_oldest_waiting_seconds",
            "For how long the oldest pending or queued job of a priority has waited.",
            labels=["priority"],
        )
        for priority, waits_s in self._oldest.items():
            oldest.add_metric([priority.value], waits_s)
        yield from (ready, consumers, oldest)
