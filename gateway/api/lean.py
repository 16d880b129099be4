"""Hot routes: documented by FastAPI, served ahead of it, for its layers would cost more than the work itself."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from distriqueue.core.errors import MalformedJson, PayloadTooLarge, UnsupportedMedia
from gateway.api import problems
from gateway.metrics import Timed

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def _untold(_status: int, _took_s: float) -> None:
    """Nobody wants to know of requests."""


def _itself(endpoint: Endpoint, _method: str, _path: str) -> Endpoint:
    return endpoint


class LeanRoute(APIRoute):
    """Hands the request straight to its endpoint, `async (request) -> Response`."""

    def get_route_handler(self) -> Endpoint:  # type: ignore[override]
        """Return the endpoint itself."""
        handler: Endpoint = self.endpoint
        return handler


class LeanFirst:
    """ASGI: serves the lean routes whose path has no parameters by itself, and leaves the rest to the app."""

    def __init__(
        self,
        app: FastAPI,
        routers: Iterable[APIRouter],
        *,
        prefix: str,
        timed: Mapping[tuple[str, str], Timed] = MappingProxyType({}),
        around: Callable[[Endpoint, str, str], Endpoint] = _itself,
    ) -> None:
        """`timed`: by method and path, who is told of requests; `around`: what is done around their endpoints."""
        self._app = app
        self._endpoints: dict[tuple[str, str], tuple[Endpoint, Timed]] = {
            (method, path): (around(route.endpoint, method, path), timed.get((method, path), _untold))
            for router in routers
            for route in router.routes
            if isinstance(route, LeanRoute) and not route.param_convertors
            for method in route.methods or ()
            for path in (prefix + route.path,)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        served = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if served is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        endpoint, told = served
        request = Request(scope, receive)
        began_at = time.monotonic()
        try:
            response = await endpoint(request)
        except Exception as exc:  # noqa: BLE001 -- whatever it is becomes an answer, and an unexpected one is logged
            response = await problems.answer(request, exc)
        told(response.status_code, time.monotonic() - began_at)
        await response(scope, receive, send)


async def read_json(request: Request, *, max_bytes: int) -> Any:
    """Read a JSON body of at most `max_bytes`; PayloadTooLarge, MalformedJson, UnsupportedMedia."""
    content_type = request.headers.get("content-type", "")
    if not _is_json(content_type):
        raise UnsupportedMedia(f"send Content-Type: application/json, not {content_type[:100]!r}")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    try:
        return from_json(b"".join(parts), allow_inf_nan=False)
    except ValueError as exc:
        raise MalformedJson(f"the body is not JSON: {exc}") from exc


def _is_json(content_type: str) -> bool:
    # Strict on purpose: a page of another site can make a browser post any of the form types here, but not this one.
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {max_bytes} bytes")
