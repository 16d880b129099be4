"""Hot routes: documented by FastAPI, served without its dependency solving, validation and response models."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import MalformedJson, PayloadTooLarge, UnsupportedMedia


class LeanRoute(APIRoute):
    """Hands the request straight to its endpoint, `async (request) -> Response`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the endpoint itself."""
        handler: Callable[[Request], Awaitable[Response]] = self.endpoint
        return handler


async def read_json(request: Request, *, max_bytes: int) -> Any:
    """Read a JSON body of at most `max_bytes`; PayloadTooLarge, MalformedJson, UnsupportedMedia."""
    content_type = request.headers.get("content-type", "")
    if not _is_json(content_type):
        raise UnsupportedMedia(f"send Content-Type: application/json, not {content_type[:100]!r}")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    try:
        return from_json(bytes(body), allow_inf_nan=False)
    except ValueError as exc:
        raise MalformedJson(f"the body is not JSON: {exc}") from exc


def _is_json(content_type: str) -> bool:
    # Strict on purpose: a page of another site can make a browser post any of the form types here, but not this one.
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {max_bytes} bytes")
