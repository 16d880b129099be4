"""Asks for a key before the app hears of a request."""

from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from distriqueue.access.keyring import Keyring
from distriqueue.access.rules import PUBLIC, Rules
from distriqueue.access.session import SAFE, SessionSource
from distriqueue.access.trail import Trail
from distriqueue.core.access import Caller, words
from distriqueue.core.errors import DistriQueueError, Forbidden, Unauthorized

Refusal = Callable[[Scope, DistriQueueError], Response]
"""Makes the answer that says no, in the service's own shape."""

_POLICY_VIOLATION: Final = 1008


class Gate:
    """ASGI middleware: what passes has its `caller` and the `trail` in `request.state`; bodies are not touched."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keyring: Keyring,
        rules: Rules,
        trail: Trail,
        refusal: Refusal,
        sessions: SessionSource | None = None,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._keyring = keyring
        self._rules = rules
        self._trail = trail
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":  # no rule speaks of them
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if scope["type"] == "http":
            try:
                caller = await self._admit(scope)
            except DistriQueueError as exc:
                answer = self._refusal(scope, exc)
                if isinstance(exc, Unauthorized):
                    answer.headers["WWW-Authenticate"] = "Bearer"
                await answer(scope, receive, send)
                return
            scope.setdefault("state", {}).update(caller=caller, trail=self._trail)
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Caller:
        takes = self._rules.scope_of(scope["method"], scope["path"])
        text = _token(scope)
        if takes is PUBLIC:
            return self._keyring.recognise(text)
        if text is None and _is_foreign(scope):
            raise Forbidden("a page of another site may not do this: send an API key, or call from your own")
        caller = await self._identify(scope, text)
        if not caller.may(takes):
            raise Forbidden(f"this takes the scope `{takes}`; the API key {caller.name!r} has: {words(caller.scopes)}")
        return caller

    async def _identify(self, scope: Scope, text: str | None) -> Caller:
        """Return who calls: by the API key if one is sent, else by a browser's session."""
        if text is not None or self._sessions is None:
            return await self._keyring.identify(text)
        found = await self._sessions.of(scope["headers"])
        if found is None:
            return await self._keyring.identify(None)
        sessions, session = found
        caller = await self._keyring.resume(session)
        if caller.key_id is not None:
            sessions.check_write(session, scope["method"], scope["headers"])
        return caller


def _is_foreign(scope: Scope) -> bool:
    """Whether a browser says that a page of another site makes it do this (Fetch Metadata); others say nothing."""
    if scope["method"] in SAFE:
        return False
    return any(name == b"sec-fetch-site" and value not in (b"same-origin", b"none") for name, value in scope["headers"])


def _token(scope: Scope) -> str | None:
    """Return what follows `Bearer`, an empty string for another way to authenticate, None for none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
    return None
