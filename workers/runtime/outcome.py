"""How an attempt ended, in the form a report needs; every way a handler can fail is put into words here."""

import math
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from distriqueue.core.context import holds_nul
from distriqueue.core.errors import Discard, HandlerSignal, Retry
from distriqueue.core.messages import ReportStatus
from workers.runtime.retries import Retries

MAX_TRACEBACK_BYTES: Final = 8_000
MAX_MESSAGE_BYTES: Final = 2_000
MAX_RESULT_BYTES: Final = 8 * 1024 * 1024
"""Results are for facts; what is larger belongs into an object store, with its address as the result."""
MAX_RETRY_AFTER_S: Final = 366 * 86_400.0
NAMED_ERRORS: Final = 5

HANDLER_ERRORS: Final = (Exception, SystemExit, KeyboardInterrupt)
"""What a handler may raise: all of it ends the attempt, none of it the worker."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt; `result` and `checkpoint` are encoded JSON, `lines` the last ones of the job's log."""

    status: ReportStatus
    result: bytes | None = None
    error_message: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    retryable: bool = True
    retry_after_s: float | None = None
    lines: Sequence[dict[str, Any]] = ()
    checkpoint: bytes | None = None
    trace: str | None = None
    """Of the attempt's job, for the span of its report."""


def completed(value: object) -> Outcome:
    """The handler returned `value`: encode it (NaN and infinities become null), or say why it cannot be."""
    try:
        result = to_json(value, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as exc:
        return failure("result_not_json", f"the handler's result is not JSON: {exc}")
    if len(result) > MAX_RESULT_BYTES:
        return failure(
            "result_too_large", f"the handler's result is {len(result)} bytes, the most is {MAX_RESULT_BYTES}"
        )
    if holds_nul(result):
        return failure("result_not_json", "the handler's result holds a NUL character, which cannot be stored")
    return Outcome(ReportStatus.COMPLETED, result)


def failure(error_type: str, message: str, *, retryable: bool = False) -> Outcome:
    """A failure that we name ourselves; by default trying again would not help."""
    return Outcome(
        ReportStatus.FAILED,
        error_message=clean(message, MAX_MESSAGE_BYTES),
        error_type=error_type,
        retryable=retryable,
    )


def raised(exc: BaseException, retries: Retries | None = None, *, attempt: int = 1) -> Outcome:
    """The handler raised: `Retry` and `Discard` steer, anything else is a failed attempt with its traceback.

    `retries` is the handler's own policy for it, if it has one.
    """
    if isinstance(exc, HandlerSignal):
        return Outcome(
            ReportStatus.FAILED,
            error_message=clean(exc.message, MAX_MESSAGE_BYTES),
            error_type=exc.code,
            retryable=not isinstance(exc, Discard),
            retry_after_s=_bounded(exc.delay_s) if isinstance(exc, Retry) else None,
        )
    return Outcome(
        ReportStatus.FAILED,
        error_message=clean(_text(exc) or type(exc).__name__, MAX_MESSAGE_BYTES),
        error_type=clean(type(exc).__name__, 200),
        traceback=traceback_of(exc),
        retryable=retries is None or retries.allows(exc),
        retry_after_s=_bounded(retries.wait_s(attempt)) if retries is not None else None,
    )


def invalid_payload(exc: ValidationError) -> Outcome:
    """The payload is not what the handler takes: no retry, and each wrong field is named."""
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    said = [f"{'.'.join(['payload', *map(str, error['loc'])])}: {error['msg']}" for error in errors[:NAMED_ERRORS]]
    if len(errors) > NAMED_ERRORS:
        said.append(f"and {len(errors) - NAMED_ERRORS} more")
    return failure("invalid_payload", "; ".join(said))


def unknown_type(type_: str, handled: Iterable[str]) -> Outcome:
    """No handler takes this type."""
    known = ", ".join(sorted(handled)) or "none"
    return failure("unknown_job_type", f"no handler for type {type_!r}; this worker handles: {known}")


def overdue(timeout_s: float) -> Outcome:
    """The attempt ran out of its time."""
    return Outcome(ReportStatus.TIMEOUT, error_message=f"no end within {timeout_s:g} s", error_type="timeout")


CANCELLED: Final = Outcome(ReportStatus.CANCELLED)
RELEASED: Final = Outcome(ReportStatus.RELEASED)
INTERRUPTED: Final = Outcome(
    ReportStatus.FAILED, error_message="the handler was cancelled from within", error_type="interrupted"
)
"""The handler stopped because it was told to; when nobody told it, a failure of its own making."""


def clean(text: str, max_bytes: int) -> str:
    """Return text that UTF-8 and Postgres can hold, in at most `max_bytes` bytes, cut in the middle."""
    raw = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace")
    if len(raw) > max_bytes:
        mark = b" [...] "
        head = max_bytes // 4
        raw = raw[:head] + mark + raw[-(max_bytes - head - len(mark)) :]
    return raw.decode(errors="ignore")


def cut(text: str, max_chars: int) -> str:
    """Return text that UTF-8 and Postgres can hold, in at most `max_chars` characters."""
    if len(text) > max_chars:
        text = f"{text[: max_chars - 1]}…"
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _bounded(delay_s: float | None) -> float | None:
    """What the gateway accepts as a delay; None (the policy's own) for what is no number."""
    return min(max(delay_s, 0.0), MAX_RETRY_AFTER_S) if delay_s is not None and math.isfinite(delay_s) else None


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except HANDLER_ERRORS:  # an exception's own __str__ is the handler's code too
        return "(its message cannot be read)"


def traceback_of(exc: BaseException) -> str:
    """Return an exception's traceback without our own first frame, cut in the middle."""
    own: Any = exc.__traceback__
    lines = traceback.format_exception(type(exc), exc, own.tb_next if own is not None and own.tb_next else own)
    return clean("".join(lines), MAX_TRACEBACK_BYTES)
