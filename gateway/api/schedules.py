"""Cron schedules: `/schedules`."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import IdempotencyKeyInFlight
from distriqueue.core.job import Priority
from distriqueue.store.schedules import Schedule
from gateway.api import views
from gateway.api.access import audit
from gateway.api.idempotency import PARAMETER, REPLAYED, come_again, idempotency_key
from gateway.api.jobs import PartsOf
from gateway.api.lean import read_json
from gateway.api.openapi import body_of
from gateway.api.plan import Overlap, ScheduleName, read_change, read_plan
from gateway.api.problems import Problem
from gateway.api.query import Text
from gateway.api.submit import JSON, REFUSALS

MAX_FIRES: Final = 50
SHOWN_FIRES: Final = 5

router: Final = APIRouter(prefix="/schedules", tags=["schedules"], responses={503: REFUSALS[503]})

NameOf = Annotated[ScheduleName, Path(alias="name")]
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "No such schedule"}}
WRONG_BODY: Final[dict[int | str, dict[str, Any]]] = {status: REFUSALS[status] for status in (400, 413, 415, 422)}


class ScheduleLinks(views.View):
    """Where to go on from a schedule."""

    self: str
    jobs: str
    run: str


class ScheduleView(views.View):
    """A schedule."""

    name: str
    cron: str
    timezone: str
    type: str
    priority: Priority
    payload: dict[str, Any] | None
    max_retries: int
    execution_timeout: float
    tags: list[str]
    overlap: Overlap
    misfire_grace: float
    paused: bool
    next_fires: list[datetime]
    last_fire: datetime | None
    last_job_id: UUID | None
    fired: int
    missed: int
    """Fires that came too late."""
    overlapped: int
    """Fires that made no job because an earlier one's was not over."""
    error: str | None
    """Why it can fire no more."""
    created_at: datetime
    updated_at: datetime
    links: ScheduleLinks


class SchedulePage(views.View):
    """Schedules by name."""

    content: list[ScheduleView]
    size: int
    next_cursor: str | None


class ScheduleQuery(BaseModel):
    """How much of a schedule to show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fires: int = Field(default=SHOWN_FIRES, ge=0, le=MAX_FIRES, description="How many of the next fire times to show.")


class ScheduleListQuery(ScheduleQuery):
    """The page of `GET /schedules`."""

    size: int = Field(default=50, ge=1, le=100)
    cursor: Text = Field(default="", description="`nextCursor` of the page before.")


@router.post(
    "",
    status_code=201,
    summary="Create a schedule",
    response_model=ScheduleView,
    responses=WRONG_BODY | {409: {"model": Problem, "description": "The name is taken"}},
    openapi_extra=body_of("NewSchedule"),
)
async def create_schedule(parts: PartsOf, request: Request) -> Response:
    """Store a schedule; its first fire is the first after now."""
    plan = read_plan(await read_json(request, max_bytes=parts.settings.max_body_bytes))
    await audit(request, "schedule.create", plan.name, cron=plan.cron, timezone=plan.timezone, type=plan.type)
    schedule = await parts.schedules.create(plan)
    return _json(_view(schedule), status=201, headers={"Location": _home(plan.name)})


@router.get("", summary="List schedules", response_model=SchedulePage)
async def list_schedules(query: Annotated[ScheduleListQuery, Query()], parts: PartsOf) -> Response:
    """In the order of their names. Large payloads are left out here (null); read the schedule itself for them."""
    found = await parts.schedules.page(after=query.cursor, limit=query.size + 1)
    shown = found[: query.size]
    answer = {
        "content": await asyncio.to_thread(_views, shown, query.fires),  # half a second for 5,000 rare fires
        "size": query.size,
        "nextCursor": shown[-1].plan.name if len(found) > query.size else None,
    }
    return _json(answer)


@router.get("/{name}", summary="Read a schedule", response_model=ScheduleView, responses=NOT_FOUND)
async def get_schedule(name: NameOf, query: Annotated[ScheduleQuery, Query()], parts: PartsOf) -> Response:
    """Return a schedule with its next fire times; none while it is paused."""
    return _json(_view(await parts.schedules.get(name), query.fires))


@router.patch(
    "/{name}",
    summary="Change a schedule",
    response_model=ScheduleView,
    responses=NOT_FOUND | WRONG_BODY,
    openapi_extra=body_of("ScheduleChange"),
)
async def change_schedule(name: NameOf, parts: PartsOf, request: Request) -> Response:
    """Change the fields that are given, `paused` among them; the jobs that it has made stay as they are."""
    changes = read_change(await read_json(request, max_bytes=parts.settings.max_body_bytes))
    await audit(request, "schedule.change", name, fields=sorted(changes))
    return _json(_view(await parts.schedules.update(name, **changes)))


@router.delete("/{name}", status_code=204, summary="Delete a schedule", responses=NOT_FOUND)
async def delete_schedule(name: NameOf, parts: PartsOf, request: Request) -> Response:
    """Forget a schedule; the jobs that it has made stay."""
    await audit(request, "schedule.delete", name)
    await parts.schedules.delete(name)
    return Response(status_code=204)


@router.post(
    "/{name}/run",
    status_code=202,
    summary="Run a schedule now",
    response_model=views.JobView,
    responses=NOT_FOUND
    | {
        409: {"model": Problem, "description": "It is not to overlap, and a job of it is not over; or in flight"},
        422: {"model": Problem, "description": "The idempotency key was used for another request"},
        429: REFUSALS[429],
    },
    openapi_extra={"parameters": [PARAMETER]},
)
async def run_schedule(name: NameOf, parts: PartsOf, request: Request) -> Response:
    """Make one job now, as a fire would; paused or not, the fires themselves stay as they are.

    Sent again with the same `Idempotency-Key`, the answer is the same job, as it is by then.
    """
    parts.backlog.check()
    key = idempotency_key(request, None)
    await audit(request, "schedule.run", name)
    try:
        run = await parts.schedules.run(name, idempotency_key=key)
    except IdempotencyKeyInFlight as exc:
        return come_again(request, exc)
    parts.hub.committed()
    parts.publisher.offer(run.ready)
    job = await parts.reader.get(run.job_id)
    headers = {"Location": f"/api/jobs/{job.id}"} | REPLAYED[run.replayed]
    return _json(views.job_view(job), status=202, headers=headers)


def _views(schedules: Sequence[Schedule], fires: int) -> list[dict[str, Any]]:
    return [_view(schedule, fires) for schedule in schedules]


def _view(schedule: Schedule, fires: int = SHOWN_FIRES) -> dict[str, Any]:
    plan = schedule.plan
    return {
        "name": plan.name,
        "cron": plan.cron,
        "timezone": plan.timezone,
        "type": plan.type,
        "priority": plan.priority,
        "payload": views.raw(plan.payload_json),
        "maxRetries": plan.max_retries,
        "executionTimeout": plan.execution_timeout_s,
        "tags": plan.tags,
        "overlap": plan.overlap,
        "misfireGrace": plan.misfire_grace_s,
        "paused": plan.paused,
        "nextFires": schedule.next_fires(fires),
        "lastFire": schedule.last_fire,
        "lastJobId": schedule.last_job_id,
        "fired": schedule.fired,
        "missed": schedule.missed,
        "overlapped": schedule.overlapped,
        "error": schedule.error,
        "createdAt": schedule.created_at,
        "updatedAt": schedule.updated_at,
        "links": {
            "self": _home(plan.name),
            "jobs": f"/api/jobs?schedule={quote(plan.name, safe='')}",
            "run": f"{_home(plan.name)}/run",
        },
    }


def _home(name: str) -> str:
    return f"/api/schedules/{quote(name, safe='')}"


def _json(answer: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(views.dumps(answer), status, headers, media_type=JSON)
