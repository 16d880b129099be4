"""`/rate-limits`: the form of a rate limit, which the page of the queues opens; set it, lift it."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import DistriQueueError, InvalidRequest
from gateway.api import limits as api
from gateway.api.query import checked
from gateway.dashboard.answers import PageRoute, done
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.forms import Fields, number, posted
from gateway.dashboard.pages.queues import VIEW

router: Final = APIRouter(route_class=PageRoute)

PERIODS: Final = (("1", "second"), ("60", "minute"), ("3600", "hour"), ("86400", "day"))
TYPE_CHARS: Final = 200
EMPTY: Final[Fields] = {"type": "", "permits": "", "perSeconds": "1"}


@router.get("/rate-limits/form", include_in_schema=False)
async def form(request: Request) -> Response:
    """Show the form, filled with the limit that a type has."""
    ask = ask_of(request)
    fields = dict(EMPTY)
    for limit in await ask.parts.limits.all():
        if limit.type == ask.param("type"):
            fields = {"type": limit.type, "permits": str(limit.permits), "perSeconds": f"{limit.per_s:g}"}
    return _form(ask, fields)


@router.post("/rate-limits/set", include_in_schema=False)
async def put(request: Request) -> Response:
    """Set the limit; or say in the form what is wrong."""
    ask = ask_of(request)
    fields = EMPTY | {name: value for name, value in (await posted(request)).items() if name in EMPTY}
    try:
        limit = checked(api.NewLimit, {name: number(fields, name) for name in ("permits", "perSeconds")})
        await api.put_limit(_type(fields["type"]), limit, ask.parts, request)
    except DistriQueueError as exc:
        return _form(ask, fields, error=exc)
    return await done(ask, VIEW, f"{fields['type'].strip()} is limited")


@router.post("/rate-limits/lift", include_in_schema=False)
async def lift(request: Request) -> Response:
    """Lift the limit of a type."""
    ask = ask_of(request)
    type_ = ask.param("type")
    await api.delete_limit(type_, ask.parts, request)
    return await done(ask, VIEW, f"{type_} is limited no more: what has waited goes on", tone="good")


def _form(ask: Ask, fields: Fields, *, error: DistriQueueError | None = None) -> Response:
    wrong = dict.fromkeys(EMPTY, "")
    wrong |= {str(each["field"]): str(each["message"]) for each in error.errors} if error else {}
    sample = ask.desk.sampler.latest
    periods = [*PERIODS, *([] if fields["perSeconds"] in dict(PERIODS) else [(fields["perSeconds"], _spelt(fields))])]
    context: dict[str, Any] = {
        "fields": fields,
        "wrong": wrong,
        "error": error,
        "is_set": bool(ask.param("type")),
        "periods": periods,
        "types": sorted(sample.figures.by_type) if sample else [],
    }
    return ask.desk.renderer.page("queues/_limit.html", ask.context | context)


def _spelt(fields: Fields) -> str:
    return f"{fields['perSeconds']} seconds"


def _type(text: str) -> str:
    name = text.strip()
    if not name or len(name) > TYPE_CHARS or "/" in name or not name.isprintable():
        message = "1 to 200 characters in one line, without slashes"
        raise InvalidRequest(f"type: {message}", errors=[{"field": "type", "message": message}])
    return name
