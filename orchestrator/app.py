"""Composes one node by hand and runs it until it is told to stop."""

import asyncio
import contextlib
import secrets
import socket
from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from distriqueue import __version__, broker, lifecycle
from distriqueue.access.gate import Gate
from distriqueue.access.keyring import Keyring
from distriqueue.access.start import require_keys
from distriqueue.core.errors import DistriQueueError
from distriqueue.settings import BrokerSettings, OrchestratorSettings, StoreSettings, TraceSettings
from distriqueue.store.access import AccessStore, AuditStore
from distriqueue.store.dashboard import DashboardStore
from distriqueue.store.database import Database
from distriqueue.store.duties import DutyStore
from distriqueue.store.jobs import JobStore
from distriqueue.store.leadership import LeadershipStore, duty_connections
from distriqueue.store.retention import RetentionStore
from distriqueue.store.routing import Routing, RoutingStore
from distriqueue.store.schedules import ScheduleStore
from distriqueue.store.server import ServerStore
from distriqueue.store.statistics import StatisticsStore
from distriqueue.store.submissions import SubmissionStore
from distriqueue.store.workers import WorkerStore
from distriqueue.telemetry import get_logger
from distriqueue.telemetry.tracing import open_tracing
from orchestrator import api
from orchestrator.access import RULES
from orchestrator.archive import FileArchive
from orchestrator.cluster.election import Election, config_of
from orchestrator.cluster.leadership import ClusterLeadership
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.progress import Progress
from orchestrator.cluster.storage import FileStorage, MemoryStorage, Storage
from orchestrator.duties.cron import CronFires
from orchestrator.duties.dispatcher import Dispatcher
from orchestrator.duties.expirer import Expirer
from orchestrator.duties.follower import Follower
from orchestrator.duties.gauges import Gauges, Sources
from orchestrator.duties.pruner import Pruner
from orchestrator.duties.reaper import Reaper
from orchestrator.duties.reconciler import Reconciler
from orchestrator.duties.retention import Kept, Retention
from orchestrator.duties.scheduler import Scheduler
from orchestrator.duties.sender import Sender
from orchestrator.duties.statistics import Statistics
from orchestrator.duties.supervisor import Supervisor
from orchestrator.heartbeats import HeartbeatsFirst
from orchestrator.metrics import Metrics
from orchestrator.parts import Parts
from orchestrator.problems import problem
from orchestrator.registry import Registry

log = get_logger("orchestrator")

STOP_S: Final = 10.0
"""What a duty's last run and requests in flight get to end."""
OPEN_RUNS_S: Final = 0.15
"""What runs under way get before leadership is handed over; the next leader aborts what is still open then."""


async def run(
    settings: OrchestratorSettings, store: StoreSettings, broker_settings: BrokerSettings, traces: TraceSettings
) -> None:
    """Serve, lead and do the duties until SIGTERM or SIGINT; BadSetting when it cannot start."""
    host = settings.orchestrator_host
    bound = lifecycle.listen(host, settings.orchestrator_port, setting="DISTRIQUEUE_ORCHESTRATOR_PORT")
    membership = Membership.of(settings)
    membership.warn()
    with contextlib.closing(bound):
        archive = FileArchive.open(settings.archive_dir, node=settings.node_id) if settings.archive_dir else None
        async with contextlib.AsyncExitStack() as stack:
            stop = await stack.enter_async_context(lifecycle.stop_signal())
            boot = secrets.token_hex(8)
            election = Election(
                membership,
                _storage(membership, stack),
                config_of(heartbeat_s=settings.raft_heartbeat, election_timeout_s=settings.election_timeout),
                boot=boot,
            )
            # The duties have connections of their own: the next leader ends these, and heartbeats never wait for one.
            serving = await stack.enter_async_context(Database.open(store, application="distriqueue-orchestrator"))
            keys = AccessStore(serving)
            await require_keys(host, keys, insecure=settings.insecure, setting="DISTRIQUEUE_ORCHESTRATOR_HOST")
            keyring = Keyring(keys, open_without_keys=settings.insecure or lifecycle.is_loopback(host))
            duties = await stack.enter_async_context(Database.open(store, application=duty_connections(boot)))
            dispatch = await stack.enter_async_context(
                broker.connect(
                    broker_settings.broker_url.get_secret_value(),
                    publish_timeout_s=broker_settings.publish_timeout,
                    dispatch_pack=broker_settings.dispatch_pack,
                )
            )
            tracing = stack.enter_context(open_tracing(traces, service="orchestrator", version=__version__))
            metrics = Metrics()
            workers = WorkerStore(serving)
            registry = Registry(workers, observer=metrics)
            progress = Progress(metrics)
            leadership = ClusterLeadership(
                LeadershipStore(serving),
                election,
                bound=_listen(membership, stack),
                progressed_at=lambda: progress.at,
                reaches_store=lambda: registry.is_recording,
            )
            metrics.watch(leadership, (serving, duties), lambda: dispatch.connected)
            lanes = RoutingStore(duties)
            sender = Sender(dispatch, JobStore(duties), Routing(lanes), on_published=metrics.published, tracing=tracing)
            duty_store, figures = DutyStore(duties), StatisticsStore(duties)
            gauges = Gauges(
                Sources(figures, lanes, DashboardStore(duties), WorkerStore(duties), ServerStore(duties), dispatch),
                leadership,
            )
            metrics.register(gauges)
            supervisor = Supervisor(
                [
                    Dispatcher(duty_store, sender),
                    Scheduler(duty_store, sender),
                    CronFires(ScheduleStore(duties), sender),
                    Expirer(duty_store, sender),
                    Follower(duty_store, sender),
                    Reaper(
                        duty_store,
                        registry,
                        sender,
                        worker_timeout_s=settings.worker_timeout,
                        on_reaped=metrics.reaped,
                    ),
                    Reconciler(duty_store, dispatch, sender, older_than_s=settings.requeue_after),
                    Statistics(figures, bounds_s=metrics.lifetimes.bounds_s, on_steps=metrics.lifetimes.told),
                    Retention(RetentionStore(duties, archive), figures, AuditStore(duties), Kept.of(settings)),
                    Pruner(
                        WorkerStore(duties),
                        SubmissionStore(duties),
                        keep_keys_s=settings.keep_idempotency_hours * 3600,
                    ),
                    gauges,
                ],
                leadership,
                observer=progress,
            )
            metrics.expect(supervisor.reports)
            parts = Parts(leadership, supervisor, registry, workers, dispatch, metrics)
            log.info("orchestrator_starts", node=settings.node_id, boot=boot, address=_address(bound))
            with metrics.lag.measured():
                await _serve(parts, keyring, AuditStore(serving), bound, stop)
            log.info("orchestrator_stopped", node=settings.node_id)


def guarded(parts: Parts, keyring: Keyring, audit: AuditStore) -> Gate:
    """Return the whole ASGI app, behind the gate."""
    app = HeartbeatsFirst(api.build(parts), parts.registry)
    return Gate(app, keyring=keyring, rules=RULES, trail=audit, refusal=_refusal)


def _refusal(scope: Scope, error: DistriQueueError) -> Response:
    return problem(error, scope["path"])


async def _serve(parts: Parts, keyring: Keyring, audit: AuditStore, bound: socket.socket, stop: asyncio.Event) -> None:
    served, quiet = asyncio.Event(), asyncio.Event()
    app = guarded(parts, keyring, audit)
    lifecycle.spare_collector()
    async with asyncio.TaskGroup() as group:
        supervisor = group.create_task(parts.supervisor.run(stop), name="supervisor")
        working = [
            group.create_task(keyring.run(served), name="access"),
            group.create_task(parts.registry.run(served), name="registry"),
            group.create_task(parts.leadership.run(quiet), name="leadership"),
            group.create_task(_quieten(supervisor, stop, quiet), name="quieten"),
            supervisor,
        ]
        await lifecycle.serve(app, bound, stop=stop, drain_s=STOP_S)
        served.set()
        _, late = await asyncio.wait(working, timeout=STOP_S)
        for task in late:
            log.warning("stop_is_late", task=task.get_name())
            task.cancel()


async def _quieten(supervisor: asyncio.Task[None], stop: asyncio.Event, quiet: asyncio.Event) -> None:
    """No duty starts after `stop`; give what runs a moment to commit before the next leader ends it."""
    await stop.wait()
    await asyncio.wait([supervisor], timeout=OPEN_RUNS_S)
    quiet.set()


def _storage(membership: Membership, stack: contextlib.AsyncExitStack) -> Storage:
    if membership.data_dir is None:
        return MemoryStorage()
    opened = FileStorage.open(membership.data_dir, cluster=membership.cluster, node=membership.node)
    return stack.enter_context(opened)


def _listen(membership: Membership, stack: contextlib.AsyncExitStack) -> socket.socket | None:
    if membership.address is None:
        return None
    host, port = membership.address
    return stack.enter_context(contextlib.closing(lifecycle.listen(host, port, setting="DISTRIQUEUE_PEERS")))


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"{host}:{port}"
