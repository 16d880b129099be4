"""In front of the gate: the dashboard's files, which are no secret, and the way from an API key to a session.

A browser cannot send an API key by itself, so someone pastes it, once: `POST /login` answers with cookies (see
`distriqueue.access.session`). The gate behind this takes the session for its key's caller. No page works without it
once there are keys; while there are none, nobody is asked.
"""

from html import unescape
from typing import Final
from urllib.parse import parse_qs, quote, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distriqueue.access.keyring import Keyring
from distriqueue.access.session import LASTS_S, SessionSource
from distriqueue.core.access import Token
from distriqueue.core.errors import DistriQueueError, Forbidden, PayloadTooLarge, Unauthorized
from gateway.dashboard.assets import PREFIX
from gateway.dashboard.desk import Desk

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
MAX_FORM_BYTES: Final = 4_096
SPOKEN: Final = {
    404: ("Not found", "There is nothing at this address."),
    500: ("A mistake of ours", "The gateway made a mistake; it is in its log."),
}


class Door:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, desk: Desk, *, sessions: SessionSource, keyring: Keyring) -> None:
        self._app = app
        self._desk = desk
        self._sessions = sessions
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(PREFIX):
            await self._desk.assets(scope, receive, send)
        elif path in (LOGIN, LOGOUT):
            request = Request(scope, receive)
            answer = await (self._login(request) if path == LOGIN else self._logout(request))
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, _Pages(scope, send, self._desk) if path and wants_page(scope) else send)

    async def _login(self, request: Request) -> Response:
        following = _local(request.query_params.get("next", "/"))
        try:
            if request.method in ("GET", "HEAD"):
                return await self._ask(request, following)
            if request.method != "POST":
                return Response(status_code=405, headers={"Allow": "GET, POST"})
            _own_page(request)
            token = Token.parse((await _form(request)).get("key", "").strip())
            if token is None:
                raise Unauthorized("this is no API key: one begins with dq_ and is 84 characters long")
            await self._keyring.identify(token.text)
            sessions = await self._sessions.get()
        except DistriQueueError as exc:
            return self._form_page(following, error=exc.message, status=exc.http_status)
        except ClientDisconnect:  # it left before it had sent the form: nobody to tell, and nothing of ours to log
            return Response(status_code=400)
        session = sessions.new(token)
        answer = RedirectResponse(following, 303)
        secure = request.url.scheme == "https"
        for name, value, hidden in (
            (sessions.cookie, session.text, True),
            (sessions.csrf_cookie, sessions.csrf(session), False),
        ):
            answer.set_cookie(name, value, max_age=LASTS_S, httponly=hidden, samesite="strict", secure=secure)
        return answer

    async def _ask(self, request: Request, following: str) -> Response:
        """Show the form, unless there is no need to: no keys, or a session that counts."""
        if self._keyring.is_open:
            return RedirectResponse(following, 303)
        found = await self._sessions.of(request.scope["headers"])
        if found is not None:
            try:
                await self._keyring.resume(found[1])
            except Unauthorized:
                return self._form_page(following, error="", status=200)
            return RedirectResponse(following, 303)
        return self._form_page(following, error="", status=200)

    async def _logout(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        try:
            _own_page(request)
            sessions = await self._sessions.get()
        except DistriQueueError as exc:
            return self._form_page("/", error=exc.message, status=exc.http_status)
        answer = RedirectResponse(LOGIN, 303)
        for name in (sessions.cookie, sessions.csrf_cookie):
            answer.delete_cookie(name, samesite="strict")
        return answer

    def _form_page(self, following: str, *, error: str, status: int) -> Response:
        context = {"error": error, "action": f"{LOGIN}?{urlencode({'next': following})}", "following": following}
        return self._desk.renderer.page("login.html", context, status=status)


class _Pages:
    """A `send` that shows browsers a page where programs get a problem: there is nothing here, or we made a mistake."""

    def __init__(self, scope: Scope, send: Send, desk: Desk) -> None:
        self._scope = scope
        self._send = send
        self._desk = desk
        self._replaced = False

    async def __call__(self, message: Message) -> None:
        """Pass a message on, or a page in its place."""
        if message["type"] == "http.response.start" and message["status"] in SPOKEN:
            self._replaced = (b"content-type", b"application/problem+json") in message["headers"]
            if self._replaced:
                title, text = SPOKEN[message["status"]]
                context = {"title": title, "message": text, "error": None}
                page = self._desk.renderer.page("refused.html", context, status=message["status"])
                await page(self._scope, _nothing, self._send)
        if not self._replaced:
            await self._send(message)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def wants_page(scope: Scope) -> bool:
    """Tell whether a browser asks for a page, not a program for an answer."""
    headers = dict(scope["headers"])
    path = scope["path"]
    return (
        scope["method"] == "GET"
        and b"text/html" in headers.get(b"accept", b"")
        and not path.startswith(("/api/", "/v3/", "/metrics", "/actuator/", "/health/"))
    )


def refusal(scope: Scope, error: DistriQueueError, desk: Desk) -> Response | None:
    """Return what a browser gets in place of a problem: the way to the login, or a page that says no; others None."""
    if not wants_page(scope):
        return None
    query = scope["query_string"].decode("latin-1")
    here = scope["path"] + (f"?{query}" if query else "")
    partial = (b"hx-request", b"true") in scope["headers"]
    if isinstance(error, Unauthorized):
        if partial:
            return Response(status_code=401, headers={"HX-Redirect": LOGIN})
        return RedirectResponse(f"{LOGIN}?next={quote(here, safe='')}", 303)
    return desk.renderer.page(
        "refused.html", {"title": _title(error), "message": error.message, "error": error}, status=error.http_status
    )


def _title(error: DistriQueueError) -> str:
    return "Not allowed" if isinstance(error, Forbidden) else "Not now"


def _local(address: str) -> str:
    """Return an address on this server; the home page for any other."""
    plain = unescape(address)
    return address if plain.startswith("/") and not plain.startswith(("//", "/\\")) and plain.isprintable() else "/"


def _own_page(request: Request) -> None:
    """Refuse what another site's page makes a browser send."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = site in ("same-origin", "none") if site is not None else True
    if not own or (origin is not None and origin.partition("://")[2] != request.headers.get("host")):
        raise Forbidden("a page of another site may not do this")


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise PayloadTooLarge(f"a login has at most {MAX_FORM_BYTES} bytes")
    return {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
