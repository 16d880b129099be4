"""The gateway's composition root."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import FastAPI

from distriqueue import __version__, broker
from distriqueue.core.errors import StoreUnavailable
from distriqueue.core.retry import backoff_s
from distriqueue.lifecycle import first_of, run_every, wait_for
from distriqueue.settings import BrokerSettings, GatewaySettings, StoreSettings
from distriqueue.store.database import Database
from distriqueue.store.events import EventStore, EventTail
from distriqueue.store.jobs import JobStore
from distriqueue.store.reads import JobReader
from distriqueue.store.reports import ReportStore
from distriqueue.store.routing import Routing, RoutingStore
from distriqueue.store.statistics import StatisticsStore
from distriqueue.telemetry import get_logger
from gateway import hub as hub_module
from gateway.api import documentation, health, jobs, openapi, problems, status, stream, submit
from gateway.hub import Hub
from gateway.intake import Intake
from gateway.parts import Parts
from gateway.publisher import Publisher
from gateway.reports import Reports

log = get_logger("gateway")

CHANNEL: Final = "distriqueue_events"


def build_app(parts: Parts | None = None) -> FastAPI:
    """Put the routes together; without parts, for its documentation only."""
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
    for module in (submit, status, stream, jobs):
        app.include_router(module.router, prefix="/api")
    app.include_router(health.root)
    app.include_router(health.actuator, prefix="/api")
    app.include_router(health.actuator, include_in_schema=False)
    documentation.install(app)
    return app


@asynccontextmanager
async def open_parts(settings: GatewaySettings, store: StoreSettings, dispatch: BrokerSettings) -> AsyncIterator[Parts]:
    """Open Postgres and the broker, and build every part on them; neither needs to be up yet."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(store, application="distriqueue-gateway"))
        connection = await stack.enter_async_context(
            broker.connect(dispatch.broker_url.get_secret_value(), publish_timeout_s=dispatch.publish_timeout)
        )
        job_store, events = JobStore(database), EventStore(database)
        routing = Routing(RoutingStore(database))
        publisher = Publisher(connection, job_store, routing)
        yield Parts(
            settings=settings,
            database=database,
            broker=connection,
            jobs=job_store,
            reader=JobReader(database),
            statistics=StatisticsStore(database),
            events=events,
            publisher=publisher,
            intake=Intake(job_store, publisher, max_waiting=settings.intake_queue),
            reports=Reports(ReportStore(database, routing), publisher),
            hub=Hub(EventTail(database), events),
        )


async def run_parts(parts: Parts, stop: asyncio.Event) -> None:
    """Run the loops behind the routes until `stop`; then finish what was accepted."""
    wake = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_every(hub_module.POLL_S, parts.hub.step, name="hub", stop=stop, wake=wake))
        group.create_task(_listen(parts.database, wake, stop))
        committing = [group.create_task(each.run()) for each in (parts.intake.commits, parts.reports.commits)]
        group.create_task(parts.publisher.run())
        await stop.wait()
        parts.intake.commits.stop()
        parts.reports.commits.stop()
        await asyncio.wait(committing)
        parts.publisher.stop()


async def _listen(database: Database, wake: asyncio.Event, stop: asyncio.Event) -> None:
    failures = 0
    while not stop.is_set():
        try:
            async with database.listening(CHANNEL, wake.set) as lost:
                failures = 0
                wake.set()
                await first_of(lost, stop)
        except StoreUnavailable as exc:
            failures += 1
            log.warning("listen_failed", failures=failures, error=str(exc))
            await wait_for(stop, backoff_s(failures, random.SystemRandom()))
