"""How many jobs of a type may start in a period: `/rate-limits`."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.limits import RateLimit
from gateway.api import views
from gateway.api.access import audit
from gateway.api.jobs import PartsOf
from gateway.api.problems import Problem
from gateway.api.submission import WHOLE
from gateway.api.submit import JSON

MAX_PERMITS: Final = 1_000_000
MAX_PER_S: Final = 86_400.0

router: Final = APIRouter(prefix="/rate-limits", tags=["operations"])

TypeOf = Annotated[str, Path(alias="type", min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/]+$")]


class NewLimit(BaseModel):
    """At most `permits` starts per `perSeconds`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    permits: Annotated[StrictInt, Field(ge=1, le=MAX_PERMITS), WHOLE]
    per_seconds: Annotated[float, Field(strict=True, ge=1, le=MAX_PER_S, allow_inf_nan=False)] = Field(
        default=1.0, description="1: a second, 60: a minute."
    )


class LimitView(views.View):
    """The rate limit of a job type."""

    type: str
    permits: int
    per_seconds: float
    free_now: float
    """Starts that are free at this moment: at most `permits`, after an idle time."""


@router.get("", summary="List rate limits", response_model=list[LimitView])
async def list_limits(parts: PartsOf) -> Response:
    """Return the limits by type."""
    return _json([_view(limit) for limit in await parts.limits.all()])


@router.put(
    "/{type}",
    summary="Limit the rate of a type",
    response_model=LimitView,
    responses={422: {"model": Problem, "description": "A field is wrong; `errors` names it"}},
)
async def put_limit(type_: TypeOf, limit: NewLimit, parts: PartsOf, request: Request) -> Response:
    """Let at most so many jobs of the type start in a period; every gateway keeps to it within a second."""
    await audit(request, "rate_limit.set", type_, permits=limit.permits, per_seconds=limit.per_seconds)
    stored = await parts.limits.put(type_, permits=limit.permits, per_s=limit.per_seconds)
    parts.routes.expire()
    return _json(_view(stored))


@router.delete(
    "/{type}",
    status_code=204,
    summary="Lift a rate limit",
    responses={404: {"model": Problem, "description": "The type has none"}},
)
async def delete_limit(type_: TypeOf, parts: PartsOf, request: Request) -> Response:
    """Let jobs of the type start as they come; what has waited goes on at once."""
    await audit(request, "rate_limit.lift", type_)
    await parts.limits.delete(type_)
    parts.routes.expire()
    return Response(status_code=204)


def _view(limit: RateLimit) -> dict[str, Any]:
    return {
        "type": limit.type,
        "permits": limit.permits,
        "perSeconds": limit.per_s,
        "freeNow": round(limit.tokens, 3),
    }


def _json(answer: object) -> Response:
    return Response(views.dumps(answer), media_type=JSON)
