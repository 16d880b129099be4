"""Spans of submissions: a request's own, under the caller's if it says so by `traceparent`."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import DistriQueueError
from distriqueue.telemetry.tracing import HEADER, Tracing

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

TRACED: Final = frozenset({("POST", "/api/jobs"), ("POST", "/api/jobs/batch")})


def traced(tracing: Tracing | None, endpoint: Endpoint, method: str, path: str) -> Endpoint:
    """Return the endpoint; one that takes jobs so that each request has a span of its own, unless traces are off."""
    if tracing is None or (method, path) not in TRACED:
        return endpoint

    about: dict[str, Any] = {"http.request.method": method, "http.route": path, "url.path": path}

    async def serve(request: Request) -> Response:
        span = tracing.begin(
            f"{method} {path}",
            kind="server",
            parent=request.headers.get(HEADER),
            **about,
        )
        status, error = 500, None
        try:
            with tracing.inside(span):
                response = await endpoint(request)
            status = response.status_code
        except DistriQueueError as exc:
            status, error = exc.http_status, exc.code if exc.http_status >= 500 else None
            raise
        except Exception as exc:
            error = type(exc).__name__
            raise
        finally:
            tracing.finish(span, error=error, **{"http.response.status_code": status})
        return response

    return serve
