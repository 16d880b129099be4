"""`/batches` and `/batches/{id}`: how far jobs are that came together."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import NotFound
from distriqueue.core.states import TERMINAL
from distriqueue.store.batches import Batch
from gateway.dashboard.answers import PageRoute, page
from gateway.dashboard.desk import Ask
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

BatchIdOf = Annotated[UUID, Path(alias="batchId")]
SIZE: Final = 20
JOBS: Final = 100


async def _read(ask: Ask) -> Context:
    ids = await ask.desk.store.batches(before=_before(ask), limit=SIZE + 1)
    batches = []
    for batch_id in ids[:SIZE]:
        try:
            batches.append(await ask.parts.batches.get(batch_id))
        except NotFound:  # retention was faster
            continue
    return {
        "title": "Batches",
        "batches": [(batch, ended(batch)) for batch in batches],
        "older": ids[SIZE - 1] if len(ids) > SIZE else None,
        "paged": bool(ask.param("before")),
    }


async def _read_one(ask: Ask) -> Context:
    batch = await ask.parts.batches.get(UUID(ask.param("id")))
    return {
        "title": batch.name or f"Batch {str(batch.id)[-8:]}",
        "batch": batch,
        "ended": ended(batch),
        "jobs": await ask.parts.batches.jobs(batch.id, limit=JOBS),
        "deliveries": await ask.parts.webhooks.of_batch(batch.id) if batch.callback_url else [],
    }


def ended(batch: Batch) -> int:
    """Return how many of its jobs have ended; those that retention has deleted have."""
    unfinished = sum(jobs for status, jobs in batch.by_status.items() if status not in TERMINAL)
    return max(batch.jobs - unfinished, 0)


def _before(ask: Ask) -> UUID | None:
    try:
        return UUID(ask.param("before"))
    except ValueError:
        return None


VIEW: Final = View("batches", "batches.html", _read, {"batches": "batches/_list.html"}, pace_s=2.0)
ONE: Final = View("batch", "batch.html", _read_one, {"batch": "batches/_one.html"}, pace_s=1.0)


@router.get("/batches", include_in_schema=False)
async def batches_(request: Request) -> Response:
    """Show the newest batches."""
    return await page(request, VIEW)


@router.get("/batches/{batchId:uuid}", include_in_schema=False)
async def batch(batch_id: BatchIdOf, request: Request) -> Response:
    """Show one batch."""
    return await page(request, ONE, id=batch_id)
