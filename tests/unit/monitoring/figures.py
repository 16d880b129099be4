"""Every metric there is: what services show, what rules record, and what others show that we scrape."""

from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from distriqueue.core.job import Priority
from distriqueue.core.ports import LaneDepth
from distriqueue.store.server import ServerFigures, TableFigures
from gateway.metrics import Metrics as GatewayMetrics
from orchestrator.duties.gauges import Gauges
from orchestrator.metrics import Metrics as OrchestratorMetrics
from tests.unit.orchestrator.fakes import FakeLeadership
from workers.metrics import Metrics as WorkerMetrics

ROOT: Final = Path(__file__).parents[3]
RULES: Final = ROOT / "monitoring" / "prometheus" / "rules"
PROMETHEUS: Final = frozenset({"up", "ALERTS"})
_SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}


def ours() -> set[str]:
    """The names of all series that our services show."""
    gateway, orchestrator, worker = GatewayMetrics(), OrchestratorMetrics(), WorkerMetrics([])
    gateway.watch(_Pools(), clients=int, unsent=int, is_connected=bool)  # type: ignore[arg-type]
    orchestrator.watch(FakeLeadership(), (_Pools(),), bool)  # type: ignore[arg-type]
    orchestrator.register(_gauges())
    worker.watch(slots=1, busy=int, unsent=int)
    registries: list[CollectorRegistry] = [each._registry for each in (gateway, orchestrator, worker)]
    return {name for registry in registries for family in registry.collect() for name in _series(family)}


def recorded() -> set[str]:
    """The names that our rules record."""
    return {rule["record"] for rule in rules() if "record" in rule}


def rules() -> list[dict[str, Any]]:
    """All rules, in order."""
    return [
        rule
        for file in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def is_known(metric: str, known: set[str]) -> bool:
    """Tell whether a metric exists; RabbitMQ's own are looked up where a RabbitMQ is scraped."""
    return metric in known or metric in PROMETHEUS or metric.startswith("rabbitmq_")


def _series(family: Metric) -> list[str]:
    return [f"{family.name}{suffix}" for suffix in _SUFFIXES.get(family.type, ("",))]


class _Pools:
    def use(self) -> dict[str, tuple[int, int, int]]:
        return {"plain": (0, 0, 1)}


def _gauges() -> Gauges:
    gauges = Gauges(None, FakeLeadership(), clock=lambda: 0.0)  # type: ignore[arg-type]
    gauges._seen.at_s = 0.0
    gauges._seen.depths = dict.fromkeys(Priority, LaneDepth(0, 0, 0))
    gauges._seen.server = ServerFigures(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, [TableFigures("jobs", 0, 0, 0)])
    return gauges
