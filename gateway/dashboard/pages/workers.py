"""`/workers`: slots, load, memory, types, when they were last heard; drain."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.workers import WorkerState
from gateway.api import workers as api
from gateway.dashboard.answers import PageRoute, done, page
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.sampler import ALIVE
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

WorkerIdOf = Annotated[str, Path(alias="workerId", max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
MOST: Final = 200
ENDED: Final = 20
"""Most workers shown that are gone."""


async def _read(ask: Ask) -> Context:
    rows = await ask.parts.workers.page(after="", limit=1_000)
    living = [row for row in rows if row["state"] in ALIVE or row["state"] == WorkerState.SHUTTING_DOWN]
    gone = sorted((row for row in rows if row not in living), key=lambda row: row["last_seen"], reverse=True)
    sample = await ask.desk.sampler.watch()
    return {
        "title": "Workers",
        "workers": living[:MOST],
        "gone": gone[:ENDED],
        "unshown": max(len(living) - MOST, 0),
        "capacity": sum(row["capacity"] for row in living),
        "load": sum(row["load"] for row in living),
        "tallies": sample.figures.by_worker,
    }


VIEW: Final = View(
    "workers", "workers.html", _read, {"workers": "workers/_living.html", "gone": "workers/_gone.html"}, pace_s=2.0
)


@router.get("/workers", include_in_schema=False)
async def workers(request: Request) -> Response:
    """Show the workers."""
    return await page(request, VIEW)


@router.post("/workers/{workerId}/drain", include_in_schema=False)
async def drain(worker_id: WorkerIdOf, request: Request) -> Response:
    """Ask a worker to take no more jobs, and to stop."""
    ask = ask_of(request)
    await api.drain_worker(worker_id, ask.parts, request)
    return await done(ask, VIEW, f"{worker_id} is asked to drain: it takes no more, and stops")
