"""`/keys`: API keys; make one, revoke one."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.access import Scope, Token, words
from distriqueue.core.errors import InvalidRequest
from distriqueue.store.access import NewKey
from gateway.dashboard.answers import PageRoute, done, note, page
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.forms import posted
from gateway.dashboard.render import HEADERS
from gateway.dashboard.views import Context, View, partials

router: Final = APIRouter(route_class=PageRoute)

KeyIdOf = Annotated[str, Path(alias="keyId", pattern=r"^[0-9a-f]{16}$")]
NAME_CHARS: Final = 100
DAY_S: Final = 86_400.0
MAX_DAYS: Final = 36_500


async def _read(ask: Ask) -> Context:
    keys = await ask.desk.keys.all(dead=True)
    return {
        "title": "API keys",
        "keys": [(key, words(key.scopes).split()) for key in keys],
        "scopes": list(Scope),
    }


VIEW: Final = View("keys", "keys.html", _read, {"keys": "keys/_list.html"}, pace_s=4.0, takes=Scope.ADMIN)


@router.get("/keys", include_in_schema=False)
async def keys(request: Request) -> Response:
    """Show the keys."""
    return await page(request, VIEW)


@router.post("/keys", include_in_schema=False)
async def create(request: Request) -> Response:
    """Make a key, and show it, this once."""
    ask = ask_of(request)
    form = await posted(request)
    token = Token.new()
    key = await ask.desk.keys.create(token, _new(form), actor=ask.caller.name)
    shown = ask.desk.renderer.text(
        "keys/_made.html", {"key": key, "token": token.text, "first": ask.context["is_open"]}
    )
    html = note(ask, f"the key {key.name} is made", tone="good") + partials({"made": shown} | await VIEW.fill(ask))
    return Response(html, headers=HEADERS, media_type="text/html")


@router.post("/keys/{keyId}/revoke", include_in_schema=False)
async def revoke(key_id: KeyIdOf, request: Request) -> Response:
    """End a key for good."""
    ask = ask_of(request)
    key = await ask.desk.keys.revoke(key_id, actor=ask.caller.name)
    return await done(ask, VIEW, f"the key {key.name} is revoked: it works for about a second more", tone="warn")


def _new(form: dict[str, str]) -> NewKey:
    name = form.get("name", "").strip()
    if not name or len(name) > NAME_CHARS or not name.isprintable():
        raise InvalidRequest(f"a key's name has 1 to {NAME_CHARS} characters in one line")
    scopes = frozenset(scope for scope in Scope if form.get(f"scope-{scope.value}"))
    if not scopes:
        raise InvalidRequest("choose at least one scope")
    days = form.get("days", "").strip()
    if days and not (days.isascii() and days.isdigit() and 0 < int(days) <= MAX_DAYS):
        raise InvalidRequest(f"a key lasts 1 to {MAX_DAYS} days, or for ever if nothing is said")
    return NewKey(name, scopes, expires_s=int(days) * DAY_S if days else None)
