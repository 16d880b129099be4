"""Errors as `application/problem+json` (RFC 9457), in the gateway's shape."""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import DistriQueueError, InvalidRequest, MalformedJson, Overloaded, Unavailable
from distriqueue.telemetry import get_logger

log = get_logger("api")


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""
    app.add_exception_handler(DistriQueueError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def problem(error: DistriQueueError, path: str) -> Response:
    """Return the answer that an error of ours makes."""
    headers = {}
    if isinstance(error, Overloaded | Unavailable):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return _response(path, error.http_status, error.code, error.message, errors=error.errors, headers=headers)


def invalid(errors: Sequence[Any]) -> InvalidRequest:
    """Return the error that pydantic's errors amount to: not JSON, or wrong fields by name."""
    if any(error["type"] == "json_invalid" for error in errors):
        return MalformedJson(f"the body is not JSON: {errors[0]['msg']}")
    fields: list[dict[str, object]] = [
        {"field": ".".join(map(str, error["loc"])) or "body", "message": error["msg"]} for error in errors[:100]
    ]
    return InvalidRequest("; ".join(f"{each['field']}: {each['message']}" for each in fields[:3]), errors=fields)


def unreadable(error: ValidationError) -> InvalidRequest:
    """Return the error that a body makes which is no such message."""
    return invalid(error.errors(include_url=False, include_context=False, include_input=False))


async def _ours(request: Request, error: Any) -> Response:
    return problem(error, request.url.path)


async def _validation(request: Request, error: Any) -> Response:
    return problem(invalid(error.errors()), request.url.path)


async def _http(request: Request, http: Any) -> Response:
    code = {404: "not_found", 405: "method_not_allowed"}.get(http.status_code, "http_error")
    return _response(
        request.url.path, http.status_code, code, str(http.detail), errors=[], headers=dict(http.headers or {})
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected_error", path=request.url.path, exc_info=error)
    detail = "the server made a mistake; it is in its log"
    return _response(request.url.path, 500, "internal", detail, errors=[], headers={})


def _response(
    path: str, status: int, code: str, detail: str, *, errors: list[dict[str, object]], headers: dict[str, str]
) -> Response:
    body: dict[str, object] = {
        "type": f"urn:distriqueue:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "instance": path,
    }
    if errors:
        body["errors"] = errors
    return Response(orjson.dumps(body), status, media_type="application/problem+json", headers=headers)
