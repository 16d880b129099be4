"""`POST /jobs/actions`: cancel or retry all that a filter matches."""

from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.reads import JobFilter
from gateway.api import views
from gateway.api.access import audit
from gateway.api.jobs import PartsOf
from gateway.api.lean import read_json
from gateway.api.openapi import body_of
from gateway.api.query import JobSelection, checked
from gateway.api.submission import WHOLE, JobUuid
from gateway.api.submit import JSON, REFUSALS
from gateway.bulk import LIMIT

MAX_IDS: Final = 1_000
NOTED: Final = 100
WRONG: Final[dict[int | str, dict[str, Any]]] = {status: REFUSALS[status] for status in (400, 413, 415, 422, 503)}

router: Final = APIRouter(prefix="/jobs", tags=["jobs"])

Ids = Annotated[list[JobUuid], Field(min_length=1, max_length=MAX_IDS)]
Limit = Annotated[StrictInt, Field(ge=1, le=LIMIT), WHOLE]


class ActionFilter(JobSelection):
    """Which jobs: the filters of `GET /jobs`, and ids."""

    ids: Ids = Field(default=[])

    def filter(self) -> JobFilter:
        """What the action is narrowed to."""
        return replace(super().filter(), ids=tuple(self.ids))


class BulkAction(BaseModel):
    """What to do, and to which jobs."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    action: Literal["cancel", "retry"]
    filter: ActionFilter = ActionFilter()
    all: StrictBool = Field(default=False, description="Meant for all jobs: without it the filter must not be empty.")
    dry_run: StrictBool = Field(default=False, description="Only say how many it would be.")
    limit: Limit = Field(default=LIMIT, description="Most jobs of this call.")

    @model_validator(mode="after")
    def _narrowed_or_all(self) -> Self:
        if self.filter.filter() == JobFilter() and not self.all:
            raise ValueError("an empty filter matches every job: say so with `all`")
        return self


class ActionAnswer(views.View):
    """What became of it."""

    action: Literal["cancel", "retry"]
    dry_run: bool
    matched: int
    changed: int
    skipped: int
    """Changed by others meanwhile, or with a unique key that another unfinished job has."""
    more: bool
    """There are more than the limit, or the time of one call, allowed: call again."""
    job_ids: list[UUID]
    """The hundred newest of them."""


@router.post(
    "/actions",
    summary="Cancel or retry many jobs",
    response_model=ActionAnswer,
    responses=WRONG,
    openapi_extra=body_of("BulkAction"),
)
async def act(parts: PartsOf, request: Request) -> Response:
    """Act on the jobs that the filter matches and that can be cancelled or retried; the newest first.

    In transactions of 500, for about eight seconds: what is left then, `more` says.
    """
    order = checked(BulkAction, await read_json(request, max_bytes=parts.settings.max_body_bytes))
    where = order.filter.filter()
    if order.dry_run:
        done = await parts.bulk.count(order.action, where, limit=order.limit)
    else:
        asked = noted(order.filter)
        await audit(request, f"jobs.{order.action}", "jobs", filter=asked, limit=order.limit)
        done = await parts.bulk.run(order.action, where, limit=order.limit)
    answer: dict[str, Any] = {
        "action": order.action,
        "dryRun": order.dry_run,
        "matched": done.matched,
        "changed": done.changed,
        "skipped": 0 if order.dry_run else done.matched - done.changed,
        "more": done.more,
        "jobIds": done.job_ids,
    }
    return Response(views.dumps(answer), media_type=JSON)


def noted(asked: BaseModel) -> dict[str, Any]:
    """Return what the audit log keeps of an order: not the ids of a thousand jobs."""
    fields = asked.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    ids = fields.get("ids", [])
    return fields | {"ids": ids[:NOTED], "idsInAll": len(ids)} if len(ids) > NOTED else fields
