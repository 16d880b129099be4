"""`POST /jobs/actions`: cancel or retry all that a filter matches."""

from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.reads import JobFilter
from gateway.api import views
from gateway.api.access import audit
from gateway.api.jobs import PartsOf
from gateway.api.problems import Problem
from gateway.api.query import JobConditions
from gateway.api.submission import JobUuid, Whole
from gateway.api.submit import JSON
from gateway.bulk import LIMIT

MAX_IDS: Final = 1_000

router: Final = APIRouter(prefix="/jobs", tags=["jobs"])

Limit = Annotated[Whole, Field(ge=1, le=LIMIT)]


class ActionFilter(JobConditions):
    """Which jobs: the filters of `GET /jobs`, and ids."""

    ids: list[JobUuid] = Field(default=[], max_length=MAX_IDS)

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
    """Matched, and changed by others or not to be changed meanwhile."""
    more: bool
    """There are more than the limit, or the time of one call, allowed: call again."""
    job_ids: list[UUID]
    """The first hundred of them."""


@router.post(
    "/actions",
    summary="Cancel or retry many jobs",
    response_model=ActionAnswer,
    responses={422: {"model": Problem, "description": "A field is wrong; `errors` names it"}},
)
async def act(order: BulkAction, parts: PartsOf, request: Request) -> Response:
    """Act on the jobs that the filter matches and that can be cancelled or retried; the newest first."""
    where = order.filter.filter()
    if order.dry_run:
        done = await parts.bulk.count(order.action, where, limit=order.limit)
    else:
        asked = order.filter.model_dump(mode="json", exclude_defaults=True, by_alias=True)
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
