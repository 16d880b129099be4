"""The parts of one running node, as the API sees them."""

from dataclasses import dataclass

from distriqueue.core.ports import Broker
from distriqueue.store.workers import WorkerStore
from orchestrator.cluster.leadership import Leadership
from orchestrator.duties.supervisor import Supervisor
from orchestrator.metrics import Metrics
from orchestrator.registry import Registry


@dataclass(frozen=True, slots=True)
class Parts:
    """Composed once, in `app.py`."""

    leadership: Leadership
    supervisor: Supervisor
    registry: Registry
    workers: WorkerStore
    broker: Broker
    metrics: Metrics
