"""The workers, as the orchestrators hear them: `/workers`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.workers import WorkerState
from gateway.api import views
from gateway.api.access import audit
from gateway.api.jobs import PartsOf
from gateway.api.problems import Problem
from gateway.api.query import Text
from gateway.api.submit import JSON, REFUSALS

router: Final = APIRouter(prefix="/workers", tags=["operations"], responses={503: REFUSALS[503]})

WorkerIdOf = Annotated[str, Path(alias="workerId", max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "No such worker"}}


class WorkerListQuery(BaseModel):
    """The page of `GET /workers`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    size: int = Field(default=100, ge=1, le=1000)
    cursor: Text = Field(default="", description="`nextCursor` of the page before.")
    state: WorkerState | None = None


class WorkerView(views.View):
    """A worker; each start of a worker process is one of its own."""

    worker_id: str
    worker_type: str
    state: WorkerState
    capacity: int
    current_load: int
    running_jobs: int
    types: list[str]
    """The job types that it has handlers for."""
    version: str | None
    memory_bytes: int | None
    """Resident memory of the worker and its child processes; null when it does not say."""
    drain_requested: bool
    first_seen: datetime
    last_seen: datetime


class WorkerPage(views.View):
    """Workers by id."""

    content: list[WorkerView]
    size: int
    next_cursor: str | None


@router.get("", summary="List workers", response_model=WorkerPage)
async def list_workers(query: Annotated[WorkerListQuery, Query()], parts: PartsOf) -> Response:
    """Return the workers, those of the last day that have ended among them."""
    found = await parts.workers.page(after=query.cursor, limit=query.size + 1, state=query.state)
    shown = found[: query.size]
    answer = {
        "content": [_view(row) for row in shown],
        "size": query.size,
        "nextCursor": shown[-1]["id"] if len(found) > query.size else None,
    }
    return _json(answer)


@router.get("/{workerId}", summary="Read a worker", response_model=WorkerView, responses=NOT_FOUND)
async def get_worker(worker_id: WorkerIdOf, parts: PartsOf) -> Response:
    """Return one worker."""
    return _json(_view(await parts.workers.get(worker_id)))


@router.post(
    "/{workerId}/drain",
    status_code=202,
    summary="Drain a worker",
    response_model=WorkerView,
    responses=NOT_FOUND | {409: {"model": Problem, "description": "It has stopped"}},
)
async def drain_worker(worker_id: WorkerIdOf, parts: PartsOf, request: Request) -> Response:
    """Ask a worker to take no more jobs, to end or give back those that it runs, and to stop."""
    await audit(request, "worker.drain", worker_id)
    await parts.workers.drain(worker_id)
    return _json(_view(await parts.workers.get(worker_id)), status=202)


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "workerId": row["id"],
        "workerType": row["type"],
        "state": row["state"],
        "capacity": row["capacity"],
        "currentLoad": row["load"],
        "runningJobs": row["running"],
        "types": row["types"],
        "version": row["version"],
        "memoryBytes": row["memory_bytes"],
        "drainRequested": row["drain_requested"],
        "firstSeen": row["first_seen"],
        "lastSeen": row["last_seen"],
    }


def _json(answer: object, *, status: int = 200) -> Response:
    return Response(views.dumps(answer), status, media_type=JSON)
