"""One call as a plan without I/O: what to send, how long to wait before it is sent again, what the answer means.

`attempts` is a generator that yields what is to be done, and is sent what came of it. Both transports drive it: they
know how to send and to sleep, and it knows all else.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final, TypeAlias

import httpx
from pydantic_core import PydanticSerializationError, from_json, to_json

from distriqueue.core.errors import DistriQueueError, IdempotencyKeyInFlight, InvalidRequest, Overloaded
from distriqueue.core.retry import Uniform, backoff_s
from distriqueue.sdk.errors import GatewayUnreachable, UnexpectedAnswer, answered

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
JSON: Final = "application/json"
_PASSING: Final = frozenset({429, 502, 503, 504})
"""Answers that another try may change."""
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What broke before a byte of the request went out."""

Query: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; the same bytes at each try."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice does no more than sending it once."""
        return self.method == "GET" or IDEMPOTENCY_KEY.lower() in {name.lower() for name in self.headers}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer below 300: its status, its headers (case-insensitive), and its JSON, None when it is empty."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying."""

    retry_for_s: float
    """From the first try on; 0: one try."""
    rng: Uniform
    clock: Callable[[], float] = time.monotonic


Step: TypeAlias = Request | Pause
Outcome: TypeAlias = httpx.Response | httpx.TransportError | None
"""What came of a step: an answer with its body, why there is none, or nothing, of a pause."""


def request(
    method: str,
    path: str,
    *,
    body: object = None,
    query: Query | None = None,
    headers: Mapping[str, str] | None = None,
) -> Request:
    """Write a request: `body` becomes JSON unless it is None; InvalidRequest when it is none."""
    content = None
    sent = dict(headers or {})
    if body is not None:
        try:
            content = to_json(body, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError, RecursionError) as exc:
            raise InvalidRequest(f"the body cannot be written as JSON: {exc}") from exc
        sent["content-type"] = JSON
    return Request(method.upper(), path, tuple(_parameters(query or {})), content, sent)


def attempts(what: Request, patience: Patience, *, at: str) -> Generator[Step, Outcome, Answer]:
    """Yield requests and pauses until there is an answer, and return that; `at` is the gateway's address.

    Sent again, with backoff, jitter and `Retry-After`: a repeatable request after whatever may pass, any other one only
    if it was not sent or was turned away (429). Raises what the last try has come to.
    """
    deadline = patience.clock() + patience.retry_for_s
    name = f"{what.method} {at}{what.path}"
    failures = 0
    while True:
        outcome = yield what
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return _read(name, outcome)
        error, wait_s = _judge(what, name, outcome)
        failures += 1
        pause_s = None if wait_s is None else max(wait_s, backoff_s(failures, patience.rng))
        if pause_s is None or patience.clock() + pause_s > deadline:
            raise error from (outcome if isinstance(outcome, Exception) else None)
        yield Pause(pause_s)


def retry_after_s(header: str | None) -> float | None:
    """Read either form of RFC 9110 §10.2.3, in seconds; None when absent or unreadable."""
    if not header:
        return None
    try:
        wait_s = float(header)
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(wait_s, 0.0) if math.isfinite(wait_s) else None


def unreachable(what: str, cause: httpx.TransportError | None) -> GatewayUnreachable:
    """Say that a call found nobody, or lost them."""
    reason = str(cause) or type(cause).__name__
    return GatewayUnreachable(f"{what}: {reason}", retry_after_s=0.0)


def _judge(what: Request, name: str, outcome: Outcome) -> tuple[DistriQueueError, float | None]:
    """Return what is wrong; and, if another try may help and does no harm, how long to wait at least."""
    if not isinstance(outcome, httpx.Response):
        harmless = what.is_repeatable or isinstance(outcome, _NOT_SENT)
        passing = not isinstance(outcome, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
        return unreachable(name, outcome), 0.0 if harmless and passing else None
    asked_s = retry_after_s(outcome.headers.get("retry-after"))
    error = answered(outcome, name, retry_after_s=asked_s)
    harmless = what.is_repeatable or isinstance(error, Overloaded)
    passing = outcome.status_code in _PASSING or isinstance(error, IdempotencyKeyInFlight)
    return error, (asked_s or 0.0) if harmless and passing else None


def _read(name: str, response: httpx.Response) -> Answer:
    body = None
    if response.content:
        try:
            body = from_json(response.content)
        except ValueError:
            raise UnexpectedAnswer(
                f"{name} answered what is not JSON; is a DistriQueue gateway at this address?",
                status=response.status_code,
            ) from None
    return Answer(response.status_code, response.headers, body)


def _parameters(query: Query) -> Generator[tuple[str, str]]:
    for name, value in query.items():
        if value is None:
            continue
        values = value if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str) else (value,)
        for each in values:
            yield name, _spelt(each)


def _spelt(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case Enum():
            return str(value.value)
        case _:
            return str(value)
