"""`/queues`: the four lanes, routing rules, rate limits; pause and resume."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import queues as api
from gateway.dashboard.answers import PageRoute, done, page
from gateway.dashboard.charts import lane_history
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.forms import posted
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

Name = Annotated[str, Path(alias="name", max_length=40)]
REASON_CHARS: Final = 500


async def _read(ask: Ask) -> Context:
    sample = await ask.desk.sampler.watch()
    controls = await ask.parts.routing.lanes()  # not as old as the figures: a pause is seen at once
    lanes = [replace(lane, control=controls[lane.priority]) for lane in sample.lanes]
    points = ask.desk.sampler.points()
    return {
        "title": "Queues",
        "lanes": [(lane, lane_history(points, lane.priority)) for lane in lanes],
        "rules": await ask.desk.store.rules(),
        "limits": await ask.parts.limits.all(),
    }


VIEW: Final = View("queues", "queues.html", _read, {"lanes": "queues/_lanes.html", "rules": "queues/_rules.html"})


@router.get("/queues", include_in_schema=False)
async def queues(request: Request) -> Response:
    """Show the lanes."""
    return await page(request, VIEW)


@router.post("/queues/{name}/pause", include_in_schema=False)
async def pause(name: Name, request: Request) -> Response:
    """Let no job of the lane start."""
    ask = ask_of(request)
    reason = (await posted(request)).get("reason", "").strip()[:REASON_CHARS].replace("\0", "")
    await api.pause_queue(name, api.PauseQuery(reason=reason or None), ask.parts, request)
    return await done(ask, VIEW, f"{name} is paused: what runs goes on, nothing more starts", tone="warn")


@router.post("/queues/{name}/resume", include_in_schema=False)
async def resume(name: Name, request: Request) -> Response:
    """Let the lane go on."""
    ask = ask_of(request)
    await api.resume_queue(name, ask.parts, request)
    return await done(ask, VIEW, f"{name} goes on")
