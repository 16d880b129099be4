"""`GET /batches` and `GET /batches/{id}`: how far jobs are that came together."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from distriqueue.core.states import TERMINAL, Status
from distriqueue.store.batches import Batch
from gateway.api import views
from gateway.api.jobs import PartsOf
from gateway.api.problems import Problem
from gateway.api.submit import JSON

MAX_JOBS: Final = 1_000
"""Most jobs shown in an answer; the list by `links.jobs` has them all."""

router: Final = APIRouter(prefix="/batches", tags=["jobs"])

BatchIdOf = Annotated[UUID, Path(alias="batchId")]


class BatchJobView(views.View):
    """One job of a batch, briefly."""

    id: UUID
    type: str
    status: Status
    progress: float | None


class BatchLinks(views.View):
    """Where to go on from a batch."""

    self: str
    jobs: str
    stream: str


class BatchSummary(views.View):
    """A batch; jobs that retention has deleted are not counted by status any more.

    Not of it are jobs of other requests that were returned by their `uniqueKey`.
    """

    id: UUID
    name: str | None
    total_jobs: int
    by_status: dict[str, int]
    finished: bool
    progress: float
    """How many of its jobs have ended, in percent."""
    sequential: bool
    stop_on_failure: bool
    stopped: bool
    max_concurrent: int | None
    callback_url: str | None
    created_at: datetime
    finished_at: datetime | None
    links: BatchLinks


class BatchView(BatchSummary):
    """A batch with its jobs."""

    jobs: list[BatchJobView]


class BatchPage(views.View):
    """Batches, the newest first."""

    content: list[BatchSummary]
    size: int
    next_cursor: UUID | None


class BatchListQuery(BaseModel):
    """The page of `GET /batches`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=20, ge=1, le=100)
    cursor: UUID | None = Field(default=None, description="`nextCursor` of the page before.")


@router.get("", summary="List batches", response_model=BatchPage)
async def list_batches(query: Annotated[BatchListQuery, Query()], parts: PartsOf) -> Response:
    """Return the batches with their counts by status, the newest first; read one for its jobs."""
    found = await parts.batches.page(before=query.cursor, limit=query.size + 1)
    shown = found[: query.size]
    answer = {
        "content": [_summary(batch) for batch in shown],
        "size": query.size,
        "nextCursor": shown[-1].id if len(found) > query.size else None,
    }
    return Response(views.dumps(answer), media_type=JSON)


@router.get(
    "/{batchId:uuid}",
    summary="Read a batch",
    response_model=BatchView,
    responses={404: {"model": Problem, "description": "No such batch"}},
)
async def get_batch(batch_id: BatchIdOf, parts: PartsOf) -> Response:
    """Return the counts by status, the jobs, and whether all have ended."""
    batch = await parts.batches.get(batch_id)
    jobs = await parts.batches.jobs(batch_id, limit=MAX_JOBS)
    shown = [{"id": job.id, "type": job.type, "status": job.status, "progress": job.progress} for job in jobs]
    return Response(views.dumps(_summary(batch) | {"jobs": shown}), media_type=JSON)


def _summary(batch: Batch) -> dict[str, Any]:
    left = sum(jobs for status, jobs in batch.by_status.items() if status not in TERMINAL)
    return {
        "id": batch.id,
        "name": batch.name,
        "totalJobs": batch.jobs,
        "byStatus": batch.by_status,
        "finished": left == 0,
        "progress": round(100 * (1 - left / batch.jobs), 2) if batch.jobs else 100.0,
        "sequential": batch.sequential,
        "stopOnFailure": batch.stop_on_failure,
        "stopped": batch.stopped,
        "maxConcurrent": batch.max_concurrent,
        "callbackUrl": batch.callback_url,
        "createdAt": batch.created_at,
        "finishedAt": batch.finished_at,
        "links": {
            "self": f"/api/batches/{batch.id}",
            "jobs": f"/api/jobs?batch={batch.id}",
            "stream": f"/api/jobs/stream?batch={batch.id}",
        },
    }
