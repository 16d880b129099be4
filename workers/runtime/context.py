"""What a handler may know of its job, and do with it."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import structlog
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from distriqueue.core.errors import HandlerSignal
from distriqueue.core.job import JobId
from distriqueue.core.messages import MAX_CHECKPOINT_BYTES, Parent
from workers.runtime.joblog import JobLines, Line, job_logger
from workers.runtime.outcome import holds_nul

ProgressSink = Callable[[float, str | None], None]
OnNews = Callable[[], None]
"""Called, in any thread, when there is something in `JobContext.news`."""
_creating = threading.Lock()
_noting = threading.Lock()
_PARENTS: Final = TypeAdapter(list[Parent])
_NO_PARENTS: Final[Mapping[JobId, Parent]] = MappingProxyType({})


def _nobody_asks() -> None:
    """Do nothing: a context without a runtime around it."""


class JobCancelled(HandlerSignal):
    """Raised by `raise_if_cancelled`: let it pass, after cleaning up."""

    code = "cancelled"


class CancelFlag:
    """Set once the job is to stop; the part of `threading.Event` that a handler needs, without its cost per job."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: threading.Event | None = None

    def __bool__(self) -> bool:
        return self._set

    def is_set(self) -> bool:
        """Tell whether the job is to stop."""
        return self._set

    def set(self) -> None:
        """Ask the job to stop (the runtime does)."""
        with _creating:
            self._set = True
            if self._event is not None:
                self._event.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block this thread until the job is to stop, at most `timeout_s` seconds; not for async handlers."""
        with _creating:
            if self._set:
                return True
            self._event = self._event or threading.Event()
        return self._event.wait(timeout_s)


class JobContext:
    """One attempt as its handler sees it; usable from the loop, from threads and in a child process.

    In a child process `cancelled` is never set: the process is killed instead.

    `parents` says how the jobs ended that this one has waited for (`dependsOn`): by job id, in the order in which they
    were named, each with `type`, `status`, `result`, `error` and `omitted`. With `onParentFailure: run` some may have
    failed. A result over 64 KiB does not come along: `omitted` is True then, and the gateway has it.

    `resume` is what the last `checkpoint` of an earlier attempt was given, or None.
    """

    __slots__ = (
        "_checkpoint",
        "_lines",
        "_log",
        "_on_news",
        "_parents",
        "_raw_parents",
        "_sink",
        "attempt",
        "cancelled",
        "deadline",
        "job_id",
        "resume",
        "type",
    )

    def __init__(
        self,
        job_id: JobId,
        attempt: int,
        type_: str,
        *,
        deadline: float,
        sink: ProgressSink,
        parents: Sequence[Any] = (),
        resume: Any = None,
        on_news: OnNews = _nobody_asks,
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.type = type_
        self.deadline = deadline
        """When the attempt times out, on `time.monotonic`'s clock."""
        self.cancelled = CancelFlag()
        """Set when the job was cancelled, timed out, or has to leave because the worker stops."""
        self.resume = resume
        """What the last checkpoint of an earlier attempt of this job has left: JSON, or None."""
        self._sink = sink
        self._on_news = on_news
        self._lines: JobLines | None = None
        self._checkpoint: bytes | None = None
        self._log: structlog.stdlib.BoundLogger | None = None
        self._raw_parents = parents
        self._parents: Mapping[JobId, Parent] | None = None if parents else _NO_PARENTS

    @property
    def remaining_s(self) -> float:
        """Seconds until the attempt times out; 0 when it has."""
        return max(self.deadline - time.monotonic(), 0.0)

    @property
    def parents(self) -> Mapping[JobId, Parent]:
        """How the jobs ended that this one has waited for, read when they are first looked at."""
        if self._parents is None:
            read = _PARENTS.validate_python(self._raw_parents)
            self._parents = MappingProxyType({JobId(parent.job_id): parent for parent in read})
        return self._parents

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A logger for the worker's log, which names the job and the attempt in every line; and for the job's own.

        Lines from `info` on are kept with the job (`GET /api/jobs/{id}/logs`), of an attempt the first 799 and the
        last 200. `bind` returns a logger that does the same.
        """
        if self._log is None:
            self._log = job_logger(self._line, job_id=str(self.job_id), attempt=self.attempt, job_type=self.type)
        return self._log

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tell how far the job is, 0 to 100. Cheap, never blocks; only the latest is sent, a few times a second."""
        if not 0 <= percent <= 100:
            raise ValueError(f"progress is 0 to 100, not {percent!r}")
        self._sink(float(percent), message)

    def checkpoint(self, data: Any) -> None:
        """Leave for the next attempt, as its `resume`, how far this one is: JSON of at most 64 KiB, the latest counts.

        Never blocks. It is reported within a quarter of a second, and with the attempt's end: what is newer than that
        is lost with a worker that dies. It stays through failures, lost workers, releases and a client's retry, until
        the job completes. Raises ValueError when it is too large, None, or no JSON.
        """
        try:
            raw = to_json(data, inf_nan_mode="null")
        except (PydanticSerializationError, ValueError, TypeError, RecursionError) as exc:
            raise ValueError(f"a checkpoint must be JSON: {exc}") from exc
        if data is None or holds_nul(raw):
            raise ValueError("a checkpoint must not be None, nor hold NUL characters")
        if len(raw) > MAX_CHECKPOINT_BYTES:
            raise ValueError(f"a checkpoint has at most {MAX_CHECKPOINT_BYTES} bytes, not {len(raw)}")
        with _noting:
            self._checkpoint = raw
        self._on_news()

    def news(self) -> tuple[list[Line], bytes | None]:
        """Return, once, what has to be reported: lines of the log and the newest checkpoint (the runtime does)."""
        return self._lines.take() if self._lines is not None else [], self._new_checkpoint()

    def last_news(self) -> tuple[list[Line], bytes | None]:
        """Return, once, what has to be reported with the attempt's end (the runtime does)."""
        return self._lines.rest() if self._lines is not None else [], self._new_checkpoint()

    def relay(self, lines: Sequence[Line], checkpoint: bytes | None) -> None:
        """Take over what a child process has to tell (the runtime does)."""
        if lines:
            self._own_lines().relay(lines)
        if checkpoint is not None:
            with _noting:
                self._checkpoint = checkpoint
        self._on_news()

    def _new_checkpoint(self) -> bytes | None:
        if self._checkpoint is None:
            return None
        with _noting:
            checkpoint, self._checkpoint = self._checkpoint, None
        return checkpoint

    def _own_lines(self) -> JobLines:
        if self._lines is None:
            with _creating:
                self._lines = self._lines or JobLines()
        return self._lines

    def _line(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        if self._own_lines().add(level, message, fields):
            self._on_news()

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled when the job is to stop: call it in long loops of sync handlers."""
        if self.cancelled:
            raise JobCancelled("the job was asked to stop")
