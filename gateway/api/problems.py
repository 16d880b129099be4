"""Errors as `application/problem+json` (RFC 9457), all in one shape:

{"type": "urn:distriqueue:problem:not_found", "title": "Not Found", "status": 404, "code": "not_found",
 "detail": "there is no job …", "instance": "/api/jobs/…", "errors": [{"field", "message"}]}
"""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from distriqueue.core.errors import DistriQueueError, InvalidRequest, Overloaded, Unavailable
from distriqueue.telemetry import get_logger

log = get_logger("api")

METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:distriqueue:problem:not_found"])
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: list[FieldProblem] | None = None


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""
    app.add_exception_handler(DistriQueueError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


async def answer(request: Request, error: Exception) -> Response:
    """Return the answer to whatever a route has raised, outside of the app's own handling."""
    if isinstance(error, DistriQueueError):
        return problem(request, error)
    if isinstance(error, ClientDisconnect):
        return await _gone(request, error)
    return await _unexpected(request, error)


def problem(request: Request, error: DistriQueueError) -> Response:
    """Return the answer that an error of ours makes."""
    headers = {}
    if isinstance(error, Overloaded | Unavailable):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return _response(
        request, error.http_status, error.code, error.message, errors=error.errors or None, headers=headers
    )


def field_errors(errors: Any) -> list[dict[str, object]]:
    """Name each wrong field by its path in the body, from pydantic's own errors."""
    return [
        {"field": ".".join(map(str, _place(error["loc"]))) or "body", "message": _message(error)} for error in errors
    ]


async def _ours(request: Request, error: Any) -> Response:
    return problem(request, error)


async def _validation(request: Request, error: Any) -> Response:
    return problem(request, invalid(field_errors(error.errors())))


async def _http(request: Request, http: Any) -> Response:
    if http.status_code == 404:
        return _response(request, 404, "not_found", f"there is nothing at {request.url.path}")
    if http.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        return _response(
            request, 405, "method_not_allowed", f"{request.url.path} takes {allowed}", headers={"Allow": allowed}
        )
    return _response(request, http.status_code, "http_error", str(http.detail), headers=dict(http.headers or {}))


async def _gone(_request: Request, _error: Any) -> Response:
    """Answer nobody: the client left before it had sent its body, and nothing was done."""
    return Response(status_code=400)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected_error", path=request.url.path, exc_info=error)
    return _response(request, 500, "internal", "the server made a mistake; it is in its log")


def invalid(errors: Sequence[Mapping[str, object]]) -> InvalidRequest:
    """Return the error that names these fields."""
    return InvalidRequest(_summary(errors), errors=[dict(error) for error in errors])


def _methods(request: Request) -> set[str]:
    """Return what the path takes by all its routes: Starlette itself names those of the first one only."""
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    routes = request.app.routes
    return {method for method, scope in scopes.items() if any(each.matches(scope)[0] is Match.FULL for each in routes)}


def _summary(errors: Sequence[Mapping[str, object]]) -> str:
    first = "; ".join(f"{error['field']}: {error['message']}" for error in errors[:3])
    return first + (f"; and {len(errors) - 3} more" if len(errors) > 3 else "")


def _place(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return loc[1:] if loc and loc[0] in ("body", "query", "path", "header") else loc


def _message(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    return str(error["msg"]).removeprefix("Value error, ")


def _response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, object]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    body: dict[str, object] = {
        "type": f"urn:distriqueue:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "instance": request.url.path,
    }
    if errors:
        body["errors"] = errors[:100]
    return Response(orjson.dumps(body), status, media_type="application/problem+json", headers=headers)
