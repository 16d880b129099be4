"""What a handler may know of its job, and do with it."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import TypeAdapter

from distriqueue.core.context import JobCancelled, JobContext, checked_percent, checkpoint_json
from distriqueue.core.job import JobId
from distriqueue.core.messages import Parent
from workers.runtime.joblog import JobLines, Line, job_logger

__all__ = ["AttemptContext", "CancelFlag", "JobCancelled", "JobContext", "OnNews", "ProgressSink"]

ProgressSink = Callable[[float, str | None], None]
OnNews = Callable[[], None]
"""Called, in any thread, when there is something in `AttemptContext.news`."""
_creating = threading.Lock()
_noting = threading.Lock()
_PARENTS: Final = TypeAdapter(list[Parent])
_NO_PARENTS: Final[Mapping[UUID, Parent]] = MappingProxyType({})


def _nobody_asks() -> None:
    """Do nothing: a context without a runtime around it."""


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


class AttemptContext:
    """A worker's `JobContext`, where what is public is described."""

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
        self.cancelled = CancelFlag()
        self.resume = resume
        self._sink = sink
        self._on_news = on_news
        self._lines: JobLines | None = None
        self._checkpoint: bytes | None = None
        self._log: structlog.stdlib.BoundLogger | None = None
        self._raw_parents = parents
        self._parents: Mapping[UUID, Parent] | None = None if parents else _NO_PARENTS

    @property
    def remaining_s(self) -> float:
        """Seconds until the attempt times out; 0 when it has."""
        return max(self.deadline - time.monotonic(), 0.0)

    @property
    def parents(self) -> Mapping[UUID, Parent]:
        """How the jobs ended that this one has waited for, read when they are first looked at."""
        if self._parents is None:
            read = _PARENTS.validate_python(self._raw_parents)
            self._parents = MappingProxyType({parent.job_id: parent for parent in read})
        return self._parents

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """Its logger, made when it is first looked at."""
        if self._log is None:
            self._log = job_logger(self._line, job_id=str(self.job_id), attempt=self.attempt, job_type=self.type)
        return self._log

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tell how far the job is, 0 to 100; ValueError."""
        self._sink(checked_percent(percent), message)

    def checkpoint(self, data: Any) -> None:
        """Leave how far this attempt is for the next one; ValueError."""
        raw = checkpoint_json(data)
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
        """Raise JobCancelled when the job is to stop."""
        if self.cancelled:
            raise JobCancelled("the job was asked to stop")
