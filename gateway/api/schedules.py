"""Cron schedules: `/schedules`."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictStr
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.job import DEFAULT_EXECUTION_TIMEOUT_S, DEFAULT_MAX_RETRIES, MAX_RETRIES_BOUND, Priority
from distriqueue.store.schedules import DEFAULT_GRACE_S, Plan, Schedule
from gateway.api import views
from gateway.api.access import audit
from gateway.api.jobs import PartsOf
from gateway.api.problems import Problem, invalid
from gateway.api.query import Text
from gateway.api.submission import Name, PriorityIn, Seconds, Tag, Whole, not_reserved, storable
from gateway.api.submit import JSON

MAX_FIRES: Final = 50
MAX_GRACE_S: Final = 7 * 86_400.0

router: Final = APIRouter(prefix="/schedules", tags=["schedules"])

NameOf = Annotated[str, Path(alias="name", min_length=1, max_length=200)]
Fires = Annotated[int, Query(ge=0, le=MAX_FIRES, description="How many of the next fire times to show.")]
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "No such schedule"}}
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": Problem, "description": "A field is wrong; `errors` names it"}
}


class _Schedule(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


JobType = Annotated[Name, AfterValidator(not_reserved)]
Cron = Annotated[StrictStr, Field(min_length=1, max_length=200)]
Grace = Annotated[float, Field(strict=True, ge=0, le=MAX_GRACE_S, allow_inf_nan=False)]
Retries = Annotated[Whole, Field(ge=0, le=MAX_RETRIES_BOUND)]
Tags = Annotated[list[Tag], Field(max_length=50)]
Overlap = Literal["allow", "skip"]


class NewSchedule(_Schedule):
    """A schedule, and the job that each of its fires makes."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/]+$")] = Field(
        description="Unique; without slashes, for it is part of the schedule's address."
    )
    cron: Cron = Field(description="Five fields, or six with the second first.", examples=["30 4 * * *"])
    timezone: Cron = Field(default="UTC", description="An IANA name.", examples=["Europe/Berlin"])
    type: JobType = Field(examples=["calculate"])
    priority: PriorityIn = Priority.MEDIUM
    payload: dict[str, Any] = Field(default_factory=dict)
    max_retries: Retries = DEFAULT_MAX_RETRIES
    execution_timeout: Seconds = DEFAULT_EXECUTION_TIMEOUT_S
    tags: Tags = []
    overlap: Overlap = Field(
        default="allow", description="`skip`: a fire makes no job while the job of an earlier one is not over."
    )
    misfire_grace: Grace = Field(
        default=DEFAULT_GRACE_S, description="Seconds; of fires that come later than this only the newest is made."
    )
    paused: StrictBool = False


class ScheduleChange(_Schedule):
    """What is to be otherwise; another `cron` or `timezone`, or the end of a pause, counts from now."""

    cron: Cron = ""
    timezone: Cron = ""
    type: JobType = ""
    priority: PriorityIn = Priority.MEDIUM
    payload: dict[str, Any] = {}
    max_retries: Retries = DEFAULT_MAX_RETRIES
    execution_timeout: Seconds = DEFAULT_EXECUTION_TIMEOUT_S
    tags: Tags = []
    overlap: Overlap = "allow"
    misfire_grace: Grace = DEFAULT_GRACE_S
    paused: StrictBool = False


class ScheduleLinks(views.View):
    """Where to go on from a schedule."""

    self: str
    jobs: str


class ScheduleView(views.View):
    """A schedule."""

    name: str
    cron: str
    timezone: str
    type: str
    priority: Priority
    payload: dict[str, Any]
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


class ScheduleListQuery(_Schedule):
    """The page of `GET /schedules`."""

    size: int = Field(default=50, ge=1, le=100)
    cursor: Text = Field(default="", description="`nextCursor` of the page before.")
    fires: int = Field(default=5, ge=0, le=MAX_FIRES, description="How many of the next fire times to show.")


@router.post(
    "",
    status_code=201,
    summary="Create a schedule",
    response_model=ScheduleView,
    responses=REFUSALS | {409: {"model": Problem, "description": "The name is taken"}},
)
async def create_schedule(new: NewSchedule, parts: PartsOf, request: Request) -> Response:
    """Store a schedule; its first fire is the first after now."""
    plan = Plan(**_fields(new))
    plan.times()
    await audit(request, "schedule.create", plan.name, cron=plan.cron, timezone=plan.timezone, type=plan.type)
    schedule = await parts.schedules.create(plan)
    return _json(_view(schedule), status=201, headers={"Location": _home(plan.name)})


@router.get("", summary="List schedules", response_model=SchedulePage)
async def list_schedules(query: Annotated[ScheduleListQuery, Query()], parts: PartsOf) -> Response:
    """Return the schedules in the order of their names."""
    found = await parts.schedules.page(after=query.cursor, limit=query.size + 1)
    shown = found[: query.size]
    answer = {
        "content": [_view(schedule, query.fires) for schedule in shown],
        "size": query.size,
        "nextCursor": shown[-1].plan.name if len(found) > query.size else None,
    }
    return _json(answer)


@router.get("/{name}", summary="Read a schedule", response_model=ScheduleView, responses=NOT_FOUND)
async def get_schedule(name: NameOf, parts: PartsOf, fires: Fires = 5) -> Response:
    """Return a schedule with its next fire times."""
    return _json(_view(await parts.schedules.get(_storable_name(name)), fires))


@router.patch("/{name}", summary="Change a schedule", response_model=ScheduleView, responses=NOT_FOUND | REFUSALS)
async def change_schedule(name: NameOf, change: ScheduleChange, parts: PartsOf, request: Request) -> Response:
    """Change the fields that are given, `paused` among them; the jobs that it has made stay as they are."""
    fields = _fields(change)
    await audit(request, "schedule.change", name, fields=sorted(fields))
    return _json(_view(await parts.schedules.update(_storable_name(name), **fields)))


@router.delete("/{name}", status_code=204, summary="Delete a schedule", responses=NOT_FOUND)
async def delete_schedule(name: NameOf, parts: PartsOf, request: Request) -> Response:
    """Forget a schedule; the jobs that it has made stay."""
    await audit(request, "schedule.delete", name)
    await parts.schedules.delete(_storable_name(name))
    return Response(status_code=204)


def _fields(asked: NewSchedule | ScheduleChange) -> dict[str, Any]:
    """Return what was asked for, under the names of the plan."""
    renamed = {"execution_timeout": "execution_timeout_s", "misfire_grace": "misfire_grace_s"}
    given = asked.model_fields_set if isinstance(asked, ScheduleChange) else type(asked).model_fields.keys()
    fields = {renamed.get(name, name): getattr(asked, name) for name in given}
    if "payload" in fields:
        fields["payload_json"], _ = storable(fields.pop("payload"))
    if "tags" in fields:
        fields["tags"] = tuple(fields["tags"])
    return fields


def _view(schedule: Schedule, fires: int = 5) -> dict[str, Any]:
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
        "links": {"self": _home(plan.name), "jobs": f"/api/jobs?schedule={quote(plan.name, safe='')}"},
    }


def _home(name: str) -> str:
    return f"/api/schedules/{quote(name, safe='')}"


def _storable_name(name: str) -> str:
    if "\0" in name:
        raise invalid([{"field": "name", "message": "must not contain NUL characters"}])
    return name


def _json(answer: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(views.dumps(answer), status, headers, media_type=JSON)
