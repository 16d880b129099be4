"""The gateway's composition root."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from distriqueue import __version__, broker
from distriqueue.access.gate import Gate
from distriqueue.access.keyring import Keyring
from distriqueue.access.session import SessionSource
from distriqueue.access.start import require_keys
from distriqueue.core.errors import DistriQueueError
from distriqueue.lifecycle import is_loopback, run_every
from distriqueue.settings import BrokerSettings, GatewaySettings, StoreSettings
from distriqueue.store.access import AccessStore, AuditStore
from distriqueue.store.batches import BatchReader
from distriqueue.store.dashboard import DashboardStore
from distriqueue.store.database import Database
from distriqueue.store.dead_letters import DeadLetterStore
from distriqueue.store.events import EventStore, EventTail
from distriqueue.store.explain import ExplainStore
from distriqueue.store.jobs import JobStore
from distriqueue.store.limits import LimitStore
from distriqueue.store.reads import JobReader
from distriqueue.store.reports import ReportStore
from distriqueue.store.routing import Routing, RoutingStore
from distriqueue.store.schedules import ScheduleStore
from distriqueue.store.statistics import StatisticsStore
from distriqueue.store.submissions import SubmissionStore
from distriqueue.store.webhooks import WebhookStore
from distriqueue.store.workers import WorkerStore
from distriqueue.telemetry import get_logger
from distriqueue.telemetry.tracing import Tracing
from gateway import hub as hub_module
from gateway.access import RULES
from gateway.api import (
    access,
    actions,
    batches,
    dead_letters,
    documentation,
    explain,
    health,
    jobs,
    limits,
    openapi,
    problems,
    queues,
    schedules,
    status,
    stream,
    submit,
    webhooks,
    workers,
)
from gateway.api.lean import LeanFirst
from gateway.backlog import Backlog
from gateway.bulk import Bulk
from gateway.dashboard import app as dashboard
from gateway.dashboard import door
from gateway.dashboard.cluster import Cluster
from gateway.dashboard.desk import Desk
from gateway.dashboard.sampler import Sampler
from gateway.dashboard.settings import ClusterSettings
from gateway.depths import Depths
from gateway.hub import Hub
from gateway.intake import Intake
from gateway.metrics import Metrics
from gateway.parts import Parts
from gateway.publisher import Publisher
from gateway.reports import Reports
from gateway.tracing import traced

log = get_logger("gateway")

PREFIX: Final = "/api"
API: Final = (
    submit,
    status,
    stream,
    actions,
    jobs,
    explain,
    webhooks,
    batches,
    dead_letters,
    schedules,
    queues,
    limits,
    workers,
    access,
)


def build(parts: Parts) -> ASGIApp:
    """Return what is served: the dashboard's door, the gate, behind it the lean routes, behind those the app."""
    app = build_app(parts)
    app.state.desk = desk = Desk.of(parts)

    def refusal(scope: Scope, error: DistriQueueError) -> Response:
        return door.refusal(scope, error, desk) or problems.problem(Request(scope), error)

    lean = LeanFirst(
        app,
        (module.router for module in API),
        prefix=PREFIX,
        timed=parts.metrics.timed,
        around=partial(traced, parts.tracing),
    )
    gate = Gate(lean, keyring=parts.keyring, rules=RULES, trail=parts.audit, refusal=refusal, sessions=parts.sessions)
    return door.Door(gate, desk, sessions=parts.sessions, keyring=parts.keyring)


def build_app(parts: Parts | None = None) -> FastAPI:
    """Put the routes together; without parts, for their documentation only."""
    app = FastAPI(
        title="DistriQueue",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.parts = parts
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    problems.install(app)
    for module in API:
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(health.root)
    app.include_router(health.actuator, prefix=PREFIX)
    app.include_router(health.actuator, include_in_schema=False)
    documentation.install(app)
    dashboard.install(app)
    return app


@asynccontextmanager
async def open_parts(
    settings: GatewaySettings, store: StoreSettings, dispatch: BrokerSettings, *, tracing: Tracing | None = None
) -> AsyncIterator[Parts]:
    """Open Postgres and the broker, and build every part on them; neither needs to be up yet, on loopback.

    Beyond it BadSetting, unless Postgres says that there are API keys.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(store, application="distriqueue-gateway"))
        host, keys = settings.gateway_host, AccessStore(database)
        await require_keys(host, keys, insecure=settings.insecure, setting="DISTRIQUEUE_GATEWAY_HOST")
        connection = await stack.enter_async_context(
            broker.connect(
                dispatch.broker_url.get_secret_value(),
                publish_timeout_s=dispatch.publish_timeout,
                dispatch_pack=dispatch.dispatch_pack,
            )
        )
        job_store, events, statistics = JobStore(database), EventStore(database), StatisticsStore(database)
        reader = JobReader(database)
        lanes, worker_store = RoutingStore(database), WorkerStore(database)
        routing = Routing(lanes)
        depths = Depths(connection)
        metrics = Metrics()
        publisher = Publisher(connection, job_store, routing, on_published=metrics.published, tracing=tracing)
        hub = Hub(EventTail(database), events)
        metrics.watch(
            database,
            clients=lambda: hub.clients,
            unsent=lambda: publisher.waiting,
            is_connected=lambda: connection.connected,
        )
        yield Parts(
            settings=settings,
            database=database,
            broker=connection,
            jobs=job_store,
            reader=reader,
            bulk=Bulk(job_store, reader, publisher),
            batches=BatchReader(database),
            explain=ExplainStore(database),
            dead_letters=DeadLetterStore(database),
            schedules=ScheduleStore(database),
            workers=worker_store,
            limits=LimitStore(database),
            webhooks=WebhookStore(database),
            routing=lanes,
            routes=routing,
            statistics=statistics,
            events=events,
            publisher=publisher,
            backlog=Backlog(statistics, most=settings.max_backlog),
            depths=depths,
            intake=Intake(
                job_store,
                SubmissionStore(database),
                publisher,
                max_waiting=settings.intake_queue,
                committed=hub.committed,
                on_commit=metrics.intake_committed,
            ),
            reports=Reports(
                ReportStore(database, routing),
                publisher,
                committed=hub.committed,
                on_answers=metrics.answered,
                on_commit=metrics.reports_committed,
            ),
            hub=hub,
            keyring=Keyring(keys, open_without_keys=settings.insecure or is_loopback(host)),
            sessions=SessionSource(keys.session_secret, database_url=store.database_url.get_secret_value()),
            audit=AuditStore(database),
            sampler=Sampler(statistics, lanes, depths, worker_store, DashboardStore(database)),
            cluster=await stack.enter_async_context(Cluster.open(ClusterSettings.load())),
            metrics=metrics,
            tracing=tracing,
        )


async def run_parts(parts: Parts, stop: asyncio.Event) -> None:
    """Run the loops behind the routes until `stop`; then finish what was accepted."""
    with parts.metrics.lag.measured():
        await _run_parts(parts, stop)


async def _run_parts(parts: Parts, stop: asyncio.Event) -> None:
    hub = parts.hub
    async with asyncio.TaskGroup() as group:
        group.create_task(run_every(hub_module.POLL_S, hub.step, name="hub", stop=stop, wake=hub.wake))
        group.create_task(parts.keyring.run(stop))
        group.create_task(parts.backlog.run(stop))
        group.create_task(parts.depths.run(stop))
        group.create_task(parts.sampler.run(stop))
        commits = (parts.intake.plain, parts.intake.looked_at, parts.reports.commits)
        committing = [group.create_task(each.run()) for each in commits]
        group.create_task(parts.publisher.run())
        await stop.wait()
        for each in commits:
            each.stop()
        await asyncio.wait(committing)
        parts.publisher.stop()
