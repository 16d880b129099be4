"""What a handler may know of its job, and do with it."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import structlog
from pydantic import TypeAdapter

from distriqueue.core.errors import HandlerSignal
from distriqueue.core.job import JobId
from distriqueue.core.messages import Parent
from distriqueue.telemetry import get_logger

ProgressSink = Callable[[float, str | None], None]
_creating = threading.Lock()
_PARENTS: Final = TypeAdapter(list[Parent])
_NO_PARENTS: Final[Mapping[JobId, Parent]] = MappingProxyType({})


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
    """

    __slots__ = ("_log", "_parents", "_raw_parents", "_sink", "attempt", "cancelled", "deadline", "job_id", "type")

    def __init__(
        self,
        job_id: JobId,
        attempt: int,
        type_: str,
        *,
        deadline: float,
        sink: ProgressSink,
        parents: Sequence[Any] = (),
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.type = type_
        self.deadline = deadline
        """When the attempt times out, on `time.monotonic`'s clock."""
        self.cancelled = CancelFlag()
        """Set when the job was cancelled, timed out, or has to leave because the worker stops."""
        self._sink = sink
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
        """A logger that names the job and the attempt in every line."""
        if self._log is None:
            self._log = get_logger("worker.job").bind(job_id=str(self.job_id), attempt=self.attempt, job_type=self.type)
        return self._log

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tell how far the job is, 0 to 100. Cheap, never blocks; only the latest is sent, a few times a second."""
        if not 0 <= percent <= 100:
            raise ValueError(f"progress is 0 to 100, not {percent!r}")
        self._sink(float(percent), message)

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled when the job is to stop: call it in long loops of sync handlers."""
        if self.cancelled:
            raise JobCancelled("the job was asked to stop")
