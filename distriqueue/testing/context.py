"""What a handler is given in a test: as a worker's context, and it keeps what the handler says."""

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic_core import from_json
from structlog.typing import EventDict, WrappedLogger

from distriqueue.core.context import JobCancelled, checked_percent, checkpoint_json
from distriqueue.core.job import DEFAULT_EXECUTION_TIMEOUT_S, new_job_id
from distriqueue.core.messages import Parent


class LocalFlag:
    """As a worker's `CancelFlag`: set by `set`, and true then."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def is_set(self) -> bool:
        """Tell whether the job is to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask the job to stop."""
        self._event.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block this thread until the job is to stop, at most `timeout_s` seconds."""
        return self._event.wait(timeout_s)


class LocalContext:
    """One attempt as its handler sees it: a `JobContext`, so a handler can be called with it, as any function.

        ctx = LocalContext(resume={"next": 3})
        assert await resize(Resize(width=80), ctx) == {"width": 80}
        assert ctx.said[-1] == (100.0, "done")

    For a job that was cancelled, `ctx.cancelled.set()`.
    """

    def __init__(
        self,
        job_id: UUID | None = None,
        attempt: int = 1,
        type_: str = "test",
        *,
        timeout_s: float = DEFAULT_EXECUTION_TIMEOUT_S,
        parents: Mapping[UUID, Parent] | None = None,
        resume: Any = None,
    ) -> None:
        self.job_id: Final[UUID] = job_id or new_job_id()
        self.attempt: Final = attempt
        self.type: Final = type_
        self.deadline: Final = time.monotonic() + timeout_s
        self.cancelled: Final = LocalFlag()
        self.parents: Final[Mapping[UUID, Parent]] = MappingProxyType(dict(parents or {}))
        self.resume: Final = resume
        self.said: Final[list[tuple[float, str | None]]] = []
        """Its steps of progress: percent and message."""
        self.lines: Final[list[EventDict]] = []
        """What it logged: `event`, `level`, and its fields."""
        self.left: Any = resume
        """What the next attempt resumes from."""

    @property
    def remaining_s(self) -> float:
        """Seconds until the attempt times out; 0 when it has."""
        return max(self.deadline - time.monotonic(), 0.0)

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A logger as a worker's; the lines are kept."""
        logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
            structlog.PrintLogger(),
            processors=[self._keep],
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )
        return logger

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tell how far the job is, 0 to 100; ValueError."""
        self.said.append((checked_percent(percent), message))

    def checkpoint(self, data: Any) -> None:
        """Leave something for the next attempt, as JSON; ValueError for what a worker would not take."""
        self.left = from_json(checkpoint_json(data))

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled once `cancelled` is set."""
        if self.cancelled:
            raise JobCancelled("the job was asked to stop")

    def _keep(self, _logger: WrappedLogger, level: str, line: EventDict) -> EventDict:
        self.lines.append(dict(line) | {"level": level})
        raise structlog.DropEvent
