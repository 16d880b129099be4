"""`/schedules`: when each fires next, what it made; pause, resume, delete, and a run by hand."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.schedules import Schedule
from gateway.api.access import audit
from gateway.api.plan import ScheduleName
from gateway.api.schedules import delete_schedule, run_schedule
from gateway.dashboard.answers import PageRoute, done, page
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

NameOf = Annotated[ScheduleName, Path(alias="name")]
SIZE: Final = 50
FIRES: Final = 4


async def _read(ask: Ask) -> Context:
    found = await ask.parts.schedules.page(after=ask.param("after")[:200].replace("\0", ""), limit=SIZE + 1)
    shown = found[:SIZE]
    fires = await asyncio.to_thread(_fires, shown)
    return {
        "title": "Schedules",
        "schedules": list(zip(shown, fires, strict=True)),
        "after": shown[-1].plan.name if len(found) > SIZE else None,
    }


def _fires(schedules: Sequence[Schedule]) -> list[list[datetime]]:
    return [schedule.next_fires(FIRES) for schedule in schedules]


VIEW: Final = View("schedules", "schedules.html", _read, {"schedules": "schedules/_list.html"}, pace_s=2.0)


@router.get("/schedules", include_in_schema=False)
async def schedules(request: Request) -> Response:
    """Show the schedules."""
    return await page(request, VIEW)


@router.post("/schedules/{name}/pause", include_in_schema=False)
async def pause(name: NameOf, request: Request) -> Response:
    """Let it fire no more, until it is resumed."""
    return await _set_paused(request, name, paused=True)


@router.post("/schedules/{name}/resume", include_in_schema=False)
async def resume(name: NameOf, request: Request) -> Response:
    """Let it fire again."""
    return await _set_paused(request, name, paused=False)


@router.post("/schedules/{name}/run", include_in_schema=False)
async def run(name: NameOf, request: Request) -> Response:
    """Make one job of it now; its fires stay as they are."""
    ask = ask_of(request)
    answer = await run_schedule(name, ask.parts, request)
    job_id = answer.headers["Location"].rpartition("/")[2]
    return await done(ask, VIEW, f"{name}: a job of it is on its way.", href=f"/jobs/{job_id}")


@router.post("/schedules/{name}/delete", include_in_schema=False)
async def delete(name: NameOf, request: Request) -> Response:
    """Forget it; the jobs that it made stay."""
    ask = ask_of(request)
    await delete_schedule(name, ask.parts, request)
    return await done(ask, VIEW, f"{name} is deleted; its jobs stay")


async def _set_paused(request: Request, name: str, *, paused: bool) -> Response:
    ask = ask_of(request)
    await audit(request, "schedule.change", name, fields=["paused"])
    await ask.parts.schedules.update(name, paused=paused)
    return await done(ask, VIEW, f"{name} {'is paused' if paused else 'goes on'}", tone="warn" if paused else "good")
