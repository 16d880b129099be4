"""The header `Idempotency-Key`: one request, however often it is sent."""

import hashlib
import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import IdempotencyKeyInFlight
from distriqueue.store.idempotency import IdempotencyKey
from gateway.api.openapi import body_of
from gateway.api.problems import invalid, problem

HEADER: Final = "Idempotency-Key"
MAX_CHARS: Final = 255
REPLAYED: Final[dict[bool, dict[str, str]]] = {True: {"Idempotency-Replayed": "true"}, False: {}}
"""The headers of an answer, by whether it was given before."""
PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Sent again with the same key, the same request gets the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_CHARS, "pattern": "^[ -~]+$"},
}


def idempotency_key(request: Request, body: object) -> IdempotencyKey | None:
    """Read the header; the request's fingerprint is of its path and its JSON, however that is written."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_CHARS or not key.isascii() or not key.isprintable():
        message = f"1 to {MAX_CHARS} printable ASCII characters"
        raise invalid([{"field": HEADER, "message": message}])
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))  # orjson takes no integer beyond 64 bits
    fingerprint = hashlib.sha256(f"{request.url.path}\n{canonical}".encode()).digest()
    return IdempotencyKey(_caller(request), key, fingerprint)


def submission_of(model: str, *, or_array_of: str | None = None) -> dict[str, Any]:
    """Return the documentation of a body that may be sent with a key."""
    return body_of(model, or_array_of=or_array_of, at_least=1) | {"parameters": [PARAMETER]}


def come_again(request: Request, error: IdempotencyKeyInFlight) -> Response:
    """Answer that it is in flight; other conflicts stay what they are, this one is over in a moment."""
    answer = problem(request, error)
    answer.headers["Retry-After"] = "1"
    return answer


def _caller(request: Request) -> str:
    """Each API key has idempotency keys of its own."""
    caller = getattr(request.state, "caller", None)
    return str(getattr(caller, "key_id", None) or "") if caller is not None else ""
