"""`/dead-letters`: what failed for good, by what failed alike; replay."""

from typing import Any, Final

from fastapi import APIRouter
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.reads import JobFilter
from gateway.api.access import audit
from gateway.api.dead_letters import DEAD, Replay
from gateway.api.query import checked
from gateway.bulk import LIMIT
from gateway.dashboard.answers import PageRoute, done, page
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.forms import posted
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

GROUPS: Final = 50


async def _read(ask: Ask) -> Context:
    groups, complete = await ask.parts.dead_letters.groups(type_=None, start=None, end=None, limit=GROUPS)
    shown: list[dict[str, Any]] = []
    for group in groups:
        error = from_json(group.error) if group.error else {}
        shown.append({"group": group, "kind": error.get("type"), "message": error.get("message")})
    largest = max((group.jobs for group in groups), default=0)
    return {"title": "Dead letters", "groups": shown, "complete": complete, "largest": largest}


VIEW: Final = View("dead-letters", "dead_letters.html", _read, {"groups": "dead_letters/_groups.html"}, pace_s=4.0)


@router.get("/dead-letters", include_in_schema=False)
async def dead_letters(request: Request) -> Response:
    """Show the groups."""
    return await page(request, VIEW)


@router.get("/dead-letters/replay", include_in_schema=False)
async def ask_replay(request: Request) -> Response:
    """Count what would be retried, and ask how fast."""
    ask = ask_of(request)
    order = checked(Replay, {"fingerprint": ask.param("fingerprint")})
    counted = await ask.parts.bulk.count("retry", _where(order), limit=LIMIT)
    context = ask.context | {"order": order, "counted": counted, "limit": LIMIT}
    return ask.desk.renderer.page("dead_letters/_replay.html", context)


@router.post("/dead-letters/replay", include_in_schema=False)
async def replay(request: Request) -> Response:
    """Retry the group."""
    ask = ask_of(request)
    form = await posted(request)
    body: dict[str, Any] = {"fingerprint": ask.param("fingerprint")}
    if form.get("perSecond", "").strip():
        body["perSecond"] = _number(form["perSecond"])
    order = checked(Replay, body)
    await audit(request, "dead_letters.replay", order.fingerprint or "", order=order.model_dump(exclude_defaults=True))
    outcome = await ask.parts.bulk.run("retry", _where(order), limit=LIMIT, per_s=order.per_second)
    more = "; there are more: do it again" if outcome.more else ""
    return await done(ask, VIEW, f"{outcome.changed:,} jobs run again{more}", tone="warn" if outcome.more else "good")


def _where(order: Replay) -> JobFilter:
    return JobFilter(statuses=DEAD, fingerprint=order.fingerprint)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
