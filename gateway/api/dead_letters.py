"""What failed for good, in groups that failed alike, and its replay: `/dead-letters`."""

from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.states import Status
from distriqueue.store.dead_letters import DeadLetters
from distriqueue.store.reads import JobFilter
from gateway.api import views
from gateway.api.access import audit
from gateway.api.actions import WRONG, Ids, Limit, noted
from gateway.api.jobs import PartsOf
from gateway.api.lean import read_json
from gateway.api.openapi import body_of
from gateway.api.query import Text, checked
from gateway.api.submission import Name
from gateway.api.submit import JSON, REFUSALS
from gateway.api.times import Time
from gateway.bulk import LIMIT

DEAD: Final = (Status.FAILED, Status.TIMEOUT)

router: Final = APIRouter(prefix="/dead-letters", tags=["jobs"])

Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class DeadLetterQuery(BaseModel):
    """Which of them."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    type: Text | None = None
    start: Time | None = Field(default=None, alias="from", description="Ended at or after.")
    end: Time | None = Field(default=None, alias="to", description="Ended before.")
    size: int = Field(default=50, ge=1, le=100)


class DeadLetterLinks(views.View):
    """Where to go on from a group."""

    sample: str


class DeadLetterView(views.View):
    """Jobs that failed alike."""

    fingerprint: str
    type: str
    error_type: str | None
    message: str | None
    """The newest one's."""
    jobs: int
    first_failed_at: datetime
    last_failed_at: datetime
    sample_job_id: UUID
    links: DeadLetterLinks


class DeadLetterPage(views.View):
    """Groups, the largest first."""

    content: list[DeadLetterView]
    complete: bool
    """False: more have ended so than were looked at, and these are groups of the newest."""


class Replay(BaseModel):
    """Which jobs to run again."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    fingerprint: Fingerprint | None = None
    type: Name | None = None
    ids: Ids = Field(default=[])
    start: Time | None = Field(default=None, alias="from", description="Ended at or after.")
    end: Time | None = Field(default=None, alias="to", description="Ended before.")
    per_second: Annotated[float, Field(strict=True, ge=0.01, le=10_000, allow_inf_nan=False)] | None = Field(
        default=None, description="How many of them a second; all at once if not given."
    )
    dry_run: StrictBool = False
    limit: Limit = LIMIT

    @model_validator(mode="after")
    def _narrowed(self) -> Self:
        if self.fingerprint is None and self.type is None and not self.ids:
            raise ValueError("say which: by fingerprint, type or ids")
        return self


class ReplayAnswer(views.View):
    """What became of it."""

    dry_run: bool
    matched: int
    replayed: int
    more: bool
    """There are more than the limit, or the time of one call, allowed: call again."""
    job_ids: list[UUID]
    """The hundred newest of them."""


@router.get("", summary="What failed, and how often", response_model=DeadLetterPage, responses={503: REFUSALS[503]})
async def list_dead_letters(query: Annotated[DeadLetterQuery, Query()], parts: PartsOf) -> Response:
    """Group failed and timed out jobs by type, kind of error, and message without its numbers, ids and quoted words.

    Of the span's newest 10,000; with `type`, of the jobs of that type among the newest 100,000.
    """
    groups, complete = await parts.dead_letters.groups(
        type_=query.type, start=query.start, end=query.end, limit=query.size
    )
    return _json({"content": [_view(group) for group in groups], "complete": complete})


@router.post(
    "/replay",
    summary="Run failed jobs again",
    response_model=ReplayAnswer,
    responses=WRONG,
    openapi_extra=body_of("Replay"),
)
async def replay(parts: PartsOf, request: Request) -> Response:
    """Retry failed and timed out jobs in place, as `POST /jobs/{id}/retry` does; spread over time if asked to.

    `perSecond` is of one call: what `more` leaves to the next one begins at once with that.
    """
    order = checked(Replay, await read_json(request, max_bytes=parts.settings.max_body_bytes))
    where = JobFilter(
        statuses=DEAD,
        types=() if order.type is None else (order.type,),
        ids=tuple(order.ids),
        fingerprint=order.fingerprint,
        finished_from=order.start,
        finished_to=order.end,
    )
    if order.dry_run:
        done = await parts.bulk.count("retry", where, limit=order.limit)
    else:
        target = order.fingerprint or order.type or "ids"
        await audit(request, "dead_letters.replay", target, order=noted(order))
        done = await parts.bulk.run("retry", where, limit=order.limit, per_s=order.per_second)
    answer = {
        "dryRun": order.dry_run,
        "matched": done.matched,
        "replayed": done.changed,
        "more": done.more,
        "jobIds": done.job_ids,
    }
    return _json(answer)


def _view(group: DeadLetters) -> dict[str, Any]:
    error = from_json(group.error) if group.error else {}
    return {
        "fingerprint": group.fingerprint,
        "type": group.type,
        "errorType": error.get("type"),
        "message": error.get("message"),
        "jobs": group.jobs,
        "firstFailedAt": group.first_at,
        "lastFailedAt": group.last_at,
        "sampleJobId": group.sample_id,
        "links": {"sample": f"/api/jobs/{group.sample_id}"},
    }


def _json(answer: object) -> Response:
    return Response(views.dumps(answer), media_type=JSON)
