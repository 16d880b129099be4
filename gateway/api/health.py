"""Health, version and metrics, at the old gateway's actuator paths and at the usual ones."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from distriqueue import __version__
from distriqueue.access.trail import caller_of
from distriqueue.core.access import Scope
from distriqueue.core.errors import Unavailable
from gateway.api import views
from gateway.api.jobs import PartsOf
from gateway.api.submit import JSON
from gateway.metrics import CONTENT_TYPE
from gateway.parts import Parts

PROBE_S: Final = 2.0

actuator: Final = APIRouter(prefix="/actuator", tags=["operations"])
root: Final = APIRouter(tags=["operations"])


@root.get("/health/live", summary="Is the process alive?")
async def live() -> Response:
    """Answer as long as the event loop turns."""
    return Response(views.dumps({"status": "UP"}), media_type=JSON)


@actuator.get("/health", summary="Can it serve?", responses={503: {"description": "DOWN"}})
@root.get("/health/ready", summary="Can it serve?", responses={503: {"description": "DOWN"}})
async def ready(parts: PartsOf, request: Request) -> Response:
    """UP while Postgres answers; a broker that is down only delays jobs, so it is shown but does not count.

    Whoever may not `read` gets the status alone.
    """
    database = await _probe(parts)
    broker = "UP" if parts.broker.connected else "DOWN"
    components: dict[str, Any] = {"database": database, "broker": {"status": broker}}
    up = database["status"] == "UP"
    body: dict[str, Any] = {"status": "UP" if up else "DOWN"}
    if caller_of(request).may(Scope.READ):
        body["components"] = components
    return Response(views.dumps(body), 200 if up else 503, media_type=JSON)


@actuator.get("/info", summary="Which version is this?")
async def info() -> Response:
    """Return name and version."""
    return Response(views.dumps({"app": {"name": "distriqueue-gateway", "version": __version__}}), media_type=JSON)


@actuator.get("/prometheus", summary="Metrics", response_class=Response)
@root.get("/metrics", summary="Metrics", response_class=Response)
async def metrics(parts: PartsOf) -> Response:
    """Return this process's metrics in Prometheus's text format."""
    return Response(parts.metrics.expose(), media_type=CONTENT_TYPE)


async def _probe(parts: Parts) -> dict[str, str]:
    try:
        async with asyncio.timeout(PROBE_S):
            await parts.database.fetch("SELECT 1")
    except (Unavailable, TimeoutError) as exc:
        return {"status": "DOWN", "error": str(exc) or f"no answer within {PROBE_S} s"}
    return {"status": "UP"}
