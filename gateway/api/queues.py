"""The four lanes: `/queues`."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import NotFound
from distriqueue.core.job import Priority
from distriqueue.core.ports import LaneDepth
from distriqueue.store.routing import LaneBacklog, LaneControl
from gateway.api import views
from gateway.api.access import audit
from gateway.api.jobs import PartsOf
from gateway.api.problems import Problem
from gateway.api.submit import JSON, REFUSALS
from gateway.parts import Parts

router: Final = APIRouter(prefix="/queues", tags=["operations"], responses={503: REFUSALS[503]})

QueueName = Annotated[str, Path(alias="name", max_length=40, description="`job.high`, or `high`, in any case.")]
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "No such queue"}}


class PauseQuery(BaseModel):
    """Why a queue is paused. In the address and not in a body, so that a POST with nothing will do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] | None = Field(
        default=None, description="Shown by `GET /queues` and `explain`."
    )


class QueueView(views.View):
    """A lane. What the broker holds is null while the broker does not answer: Postgres knows all else."""

    name: str
    priority: Priority
    pending: int
    """Jobs that wait to be handed to the broker; by their priority, whatever lane a rule sends them through."""
    pending_is_estimate: bool
    """There are more than that."""
    broker_available: bool
    """Whether the broker said what it holds."""
    ready: int | None
    """What waits in the broker: jobs on Postgres; on RabbitMQ messages, of up to 16 jobs that were sent together."""
    unacked: int | None
    """Jobs that workers hold and have not claimed; 0 on RabbitMQ, which does not tell."""
    consumers: int | None
    oldest_age_seconds: float
    """For how long the job has waited that has waited longest, for the broker or in it."""
    paused: bool
    paused_reason: str | None
    changed_at: datetime
    """When it was paused or resumed last."""


@router.get("", summary="How full are the queues?", response_model=list[QueueView])
async def list_queues(parts: PartsOf) -> Response:
    """Return the lanes, the most urgent first."""
    return _json(await _queues(parts))


@router.post("/{name}/pause", summary="Pause a queue", response_model=QueueView, responses=NOT_FOUND)
async def pause_queue(
    name: QueueName, query: Annotated[PauseQuery, Query()], parts: PartsOf, request: Request
) -> Response:
    """Let no job of the lane start, from within a second on; what runs goes on."""
    lane, reason = _lane(name), query.reason
    await audit(request, "queue.pause", lane.queue, reason=reason)
    await parts.routing.pause(lane, reason=reason)
    parts.routes.expire()
    return _json((await _queues(parts))[list(Priority).index(lane)])


@router.post("/{name}/resume", summary="Resume a queue", response_model=QueueView, responses=NOT_FOUND)
async def resume_queue(name: QueueName, parts: PartsOf, request: Request) -> Response:
    """Let the lane go on."""
    lane = _lane(name)
    await audit(request, "queue.resume", lane.queue)
    await parts.routing.resume(lane)
    parts.routes.expire()
    return _json((await _queues(parts))[list(Priority).index(lane)])


async def _queues(parts: Parts) -> list[dict[str, Any]]:
    controls, backlogs = await parts.routing.lanes(), await parts.routing.backlogs()
    depths = await parts.depths.read() or {}
    return [_view(lane, controls[lane], backlogs[lane], depths.get(lane)) for lane in Priority]


def _view(lane: Priority, control: LaneControl, backlog: LaneBacklog, depth: LaneDepth | None) -> dict[str, Any]:
    return {
        "name": lane.queue,
        "priority": lane,
        "pending": backlog.pending,
        "pendingIsEstimate": not backlog.is_exact,
        "brokerAvailable": depth is not None,
        "ready": depth and depth.ready,
        "unacked": depth and depth.unacked,
        "consumers": depth and depth.consumers,
        "oldestAgeSeconds": round(backlog.oldest_s, 3),
        "paused": control.paused,
        "pausedReason": control.reason,
        "changedAt": control.changed_at,
    }


def _lane(name: str) -> Priority:
    try:
        return Priority.parse(name.lower().removeprefix("job."))
    except ValueError:
        names = ", ".join(lane.queue for lane in Priority)
        raise NotFound(f"there is no queue {name[:40]!r}: there are {names}") from None


def _json(answer: object) -> Response:
    return Response(views.dumps(answer), media_type=JSON)
