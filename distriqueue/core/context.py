"""What a handler may know of its job, and do with it: the same in a worker and in a test of `distriqueue.testing`.

async def resize(payload: Resize, ctx: JobContext) -> dict[str, int]: ...

await resize(Resize(width=80), LocalContext())      # in a test, without a worker
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol, Self
from uuid import UUID

from pydantic_core import PydanticSerializationError, to_json

from distriqueue.core.errors import HandlerSignal
from distriqueue.core.messages import MAX_CHECKPOINT_BYTES, Parent

MAX_PERCENT: Final = 100
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class JobCancelled(HandlerSignal):
    """Raised by `raise_if_cancelled`: let it pass, after cleaning up."""

    code = "cancelled"


class CancelFlag(Protocol):
    """Set once the job is to stop; true then."""

    def __bool__(self) -> bool: ...

    def is_set(self) -> bool:
        """Tell whether the job is to stop."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block this thread until the job is to stop, at most `timeout_s` seconds; not for async handlers."""


class JobLog(Protocol):
    """A logger of the job's own log: an event in words, its details as keywords."""

    def bind(self, **details: Any) -> Self:
        """Return a logger that adds these details to each line."""

    def debug(self, event: str | None = None, *args: Any, **details: Any) -> Any:
        """For the worker's own log only."""

    def info(self, event: str | None = None, *args: Any, **details: Any) -> Any:
        """Say what was done."""

    def warning(self, event: str | None = None, *args: Any, **details: Any) -> Any:
        """Say what is not as it should be."""

    def error(self, event: str | None = None, *args: Any, **details: Any) -> Any:
        """Say what failed."""

    def exception(self, event: str | None = None, *args: Any, **details: Any) -> Any:
        """Say what failed, with the traceback of the exception that is being handled."""

    def critical(self, event: str | None = None, *args: Any, **details: Any) -> Any:
        """Say what must be looked at now."""


class JobContext(Protocol):
    """One attempt as its handler sees it; usable from the loop, from threads and in a child process."""

    @property
    def job_id(self) -> UUID:
        """The job."""

    @property
    def attempt(self) -> int:
        """Which of its attempts, from 1 on."""

    @property
    def type(self) -> str:
        """The job type."""

    @property
    def deadline(self) -> float:
        """When the attempt times out, on `time.monotonic`'s clock."""

    @property
    def remaining_s(self) -> float:
        """Seconds until the attempt times out; 0 when it has."""

    @property
    def cancelled(self) -> CancelFlag:
        """Set when the job was cancelled, timed out, or has to leave because the worker stops.

        In a child process it never is: the process is killed instead.
        """

    @property
    def parents(self) -> Mapping[UUID, Parent]:
        """How the jobs ended that this one has waited for (`dependsOn`), by job id, in the order they were named in.

        Each has `type`, `status`, `result`, `error` and `omitted`. With `onParentFailure: run` some may have failed. A
        result over 64 KiB does not come along: `omitted` is True then, and the gateway has it.
        """

    @property
    def resume(self) -> Any:
        """What the last `checkpoint` of an earlier attempt of this job was given: JSON, or None."""

    @property
    def log(self) -> JobLog:
        """A logger for the worker's log, which names the job and the attempt in every line; and for the job's own.

        Lines from `info` on are kept with the job (`GET /api/jobs/{id}/logs`), of an attempt the first 799 and the
        last 200. `bind` returns a logger that does the same.
        """

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tell how far the job is, 0 to 100. Cheap, never blocks; only the latest is sent, a few times a second."""

    def checkpoint(self, data: Any) -> None:
        """Leave for the next attempt, as its `resume`, how far this one is: JSON of at most 64 KiB, the latest counts.

        Never blocks. It is reported within a quarter of a second, and with the attempt's end: what is newer than that
        is lost with a worker that dies. It stays through failures, lost workers, releases and a client's retry, until
        the job completes. Raises ValueError when it is too large, None, or no JSON.
        """

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled when the job is to stop: call it in long loops of sync handlers."""


def checked_percent(percent: float) -> float:
    """Return how far a job is; ValueError when that is not 0 to 100."""
    if not 0 <= percent <= MAX_PERCENT:
        raise ValueError(f"progress is 0 to {MAX_PERCENT}, not {percent!r}")
    return float(percent)


def checkpoint_json(data: object) -> bytes:
    """Return a checkpoint as it is kept; ValueError when it is too large, None, or no JSON."""
    try:
        raw = to_json(data, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as exc:
        raise ValueError(f"a checkpoint must be JSON: {exc}") from exc
    if data is None or holds_nul(raw):
        raise ValueError("a checkpoint must not be None, nor hold NUL characters")
    if len(raw) > MAX_CHECKPOINT_BYTES:
        raise ValueError(f"a checkpoint has at most {MAX_CHECKPOINT_BYTES} bytes, not {len(raw)}")
    return raw


def holds_nul(json: bytes) -> bool:
    """Tell whether JSON holds a NUL character, which Postgres would store but not read back."""
    return b"\\u0000" in json and _NUL.search(json) is not None
