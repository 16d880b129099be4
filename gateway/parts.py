"""What the routes work with; `app` builds it and hangs it on the application's state."""

from dataclasses import dataclass

from starlette.requests import Request

from distriqueue.access.keyring import Keyring
from distriqueue.access.session import SessionSource
from distriqueue.core.ports import Broker
from distriqueue.settings import GatewaySettings
from distriqueue.store.access import AuditStore
from distriqueue.store.batches import BatchReader
from distriqueue.store.database import Database
from distriqueue.store.dead_letters import DeadLetterStore
from distriqueue.store.events import EventStore
from distriqueue.store.explain import ExplainStore
from distriqueue.store.jobs import JobStore
from distriqueue.store.limits import LimitStore
from distriqueue.store.reads import JobReader
from distriqueue.store.routing import Routing, RoutingStore
from distriqueue.store.schedules import ScheduleStore
from distriqueue.store.statistics import StatisticsStore
from distriqueue.store.webhooks import WebhookStore
from distriqueue.store.workers import WorkerStore
from distriqueue.telemetry.tracing import Tracing
from gateway.backlog import Backlog
from gateway.bulk import Bulk
from gateway.dashboard.cluster import Cluster
from gateway.dashboard.sampler import Sampler
from gateway.depths import Depths
from gateway.hub import Hub
from gateway.intake import Intake
from gateway.metrics import Metrics
from gateway.publisher import Publisher
from gateway.reports import Reports


@dataclass(frozen=True, slots=True)
class Parts:
    """The gateway's parts, one of each."""

    settings: GatewaySettings
    database: Database
    broker: Broker
    jobs: JobStore
    reader: JobReader
    batches: BatchReader
    explain: ExplainStore
    dead_letters: DeadLetterStore
    schedules: ScheduleStore
    workers: WorkerStore
    limits: LimitStore
    webhooks: WebhookStore
    routing: RoutingStore
    routes: Routing
    statistics: StatisticsStore
    events: EventStore
    publisher: Publisher
    intake: Intake
    backlog: Backlog
    depths: Depths
    bulk: Bulk
    reports: Reports
    hub: Hub
    keyring: Keyring
    sessions: SessionSource
    audit: AuditStore
    sampler: Sampler
    cluster: Cluster
    metrics: Metrics
    tracing: Tracing | None


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that serves this request."""
    parts: Parts = request.app.state.parts
    return parts
