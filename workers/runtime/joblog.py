"""What a handler writes to `ctx.log`: in the worker's own log as ever, and kept with the job, bounded.

Of one attempt at most `MAX_LOG_LINES` lines are kept: the first as they come, so that a running job can be watched,
and what a dead worker has said is not lost; of what follows, the last, with the attempt's end, for there the reason
is. A line between says how many are left out.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import structlog
from pydantic_core import from_json, to_json

from distriqueue.core.messages import MAX_LOG_FIELDS_BYTES, MAX_LOG_LINES
from workers.runtime.outcome import HANDLER_ERRORS, clean, traceback_of

Line: TypeAlias = dict[str, Any]
"""`n`, `at`, `level`, `message`, `fields`, as a report has them (`core.messages.LogLine`)."""

LAST: Final = 200
FIRST: Final = MAX_LOG_LINES - LAST - 1
FIRST_BYTES: Final = 256 * 1024
LAST_BYTES: Final = 128 * 1024
MAX_MESSAGE_BYTES: Final = 2_000
MAX_VALUE_BYTES: Final = 3_000
"""A traceback is longer, and keeps its ends."""
MAX_NAME_BYTES: Final = 100
LINE_BYTES: Final = 100
"""What a line weighs besides its message and its fields."""

_LEVELS: Final = MappingProxyType(
    {
        "info": "info",
        "warning": "warning",
        "warn": "warning",
        "error": "error",
        "exception": "error",
        "critical": "critical",
        "fatal": "critical",
    }
)
"""By the logger's methods; debug is for the worker's own log only."""
_OUR_OWN: Final = frozenset(
    {"event", "job_id", "attempt", "job_type", "exc_info", "stack_info", "stacklevel", "positional_args"}
)


class JobLines:
    """The lines of one attempt that are still to be sent; any thread may add some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: list[Line] = []
        self._last: deque[tuple[Line, int]] = deque()
        self._numbered = 0
        self._first_bytes = 0
        self._last_bytes = 0
        self._left_out = 0

    def add(self, level: str, message: str, fields: Mapping[str, Any]) -> bool:
        """Keep a line, or the end of one that is too long; tell whether it can be sent at once."""
        line: Line = {
            "n": 0,
            "at": datetime.now(UTC).isoformat(),
            "level": level,
            "message": clean(message, MAX_MESSAGE_BYTES),
        }
        size_bytes = LINE_BYTES + len(line["message"])
        if fields:
            line["fields"], fields_bytes = _readable(fields)
            size_bytes += fields_bytes
        with self._lock:
            if self._numbered < FIRST and self._first_bytes < FIRST_BYTES:
                self._numbered += 1
                self._first_bytes += size_bytes
                line["n"] = self._numbered
                self._first.append(line)
                return True
            self._first_bytes = FIRST_BYTES  # from the first that came too late on, all are
            self._last.append((line, size_bytes))
            self._last_bytes += size_bytes
            while len(self._last) > LAST or self._last_bytes > LAST_BYTES:
                self._last_bytes -= self._last.popleft()[1]
                self._left_out += 1
            return False

    def relay(self, lines: Sequence[Line]) -> None:
        """Take lines over from a child process, which has bounded and numbered them."""
        with self._lock:
            self._first += lines

    def take(self) -> list[Line]:
        """Return what can be sent now, once."""
        with self._lock:
            lines, self._first = self._first, []
            return lines

    def rest(self) -> list[Line]:
        """Return all that is to be sent at the attempt's end, once."""
        lines = self.take()
        with self._lock:
            if self._left_out:
                self._numbered += 1
                note = f"{self._left_out} lines are left out here"
                lines.append({"n": self._numbered, "at": self._last[0][0]["at"], "level": "warning", "message": note})
            for line, _ in self._last:
                self._numbered += 1
                lines.append(line | {"n": self._numbered})
            self._last.clear()
            self._left_out = 0
        return lines


def job_logger(capture: Callable[[str, str, Mapping[str, Any]], None], **bound: Any) -> structlog.stdlib.BoundLogger:
    """Return a logger of the worker's log that hands each line, from `info` on, to `capture` as well."""

    def keep(_logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        level = _LEVELS.get(method)
        if level is not None:
            capture(level, _message(event), _fields(event))
        return event

    return structlog.stdlib.BoundLogger(
        logging.getLogger("worker.job"), [keep, *structlog.get_config()["processors"]], bound
    )


def _message(event: Mapping[str, Any]) -> str:
    message, values = event.get("event"), event.get("positional_args")
    try:
        return str(message) % values if values else str(message)
    except HANDLER_ERRORS:  # a value's own __str__, or a wrong format, is the handler's code
        return f"(a message that cannot be read: {type(message).__name__})"


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in event.items() if name not in _OUR_OWN}
    error = _error(event.get("exc_info"))
    if error is not None:
        fields["traceback"] = traceback_of(error)
    return fields


def _error(info: object) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) == 3 and isinstance(info[1], BaseException):
        return info[1]
    return sys.exc_info()[1] if info else None


def _readable(fields: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return fields that are JSON, each value and all of them within their bounds, and their size in bytes."""
    kept: dict[str, Any] = {}
    size_bytes = 0
    for name, value in fields.items():
        key, shown = clean(str(name), MAX_NAME_BYTES), _shown(value)
        more_bytes = len(to_json({key: shown}))
        if size_bytes + more_bytes > MAX_LOG_FIELDS_BYTES - MAX_NAME_BYTES:
            kept["…"] = f"{len(fields) - len(kept)} more"
            break
        kept[key] = shown
        size_bytes += more_bytes
    return kept, size_bytes


def _shown(value: object) -> Any:
    """Return a value that is JSON and small, or else its text, cut."""
    if isinstance(value, str):
        return clean(value, MAX_VALUE_BYTES)
    try:
        raw = to_json(value, fallback=str, inf_nan_mode="strings")
    except HANDLER_ERRORS:  # its own __str__ is the handler's code
        return f"({type(value).__name__})"
    return from_json(raw) if len(raw) <= MAX_VALUE_BYTES else clean(raw.decode(), MAX_VALUE_BYTES)
