"""What a handler is given in a test: as a worker's context, and it keeps what the handler says."""

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic_core import from_json, to_json
from structlog.typing import EventDict, WrappedLogger

from distriqueue.core.messages import Parent


class LocalContext:
    """One attempt as its handler sees it."""

    def __init__(
        self,
        job_id: UUID,
        attempt: int,
        type_: str,
        *,
        timeout_s: float,
        parents: Mapping[UUID, Parent] | None = None,
        resume: Any = None,
    ) -> None:
        self.job_id: Final = job_id
        self.attempt: Final = attempt
        self.type: Final = type_
        self.deadline: Final = time.monotonic() + timeout_s
        """When the attempt times out, on `time.monotonic`'s clock."""
        self.cancelled: Final = threading.Event()
        """Never set: nobody cancels a job that runs here."""
        self.parents: Final[Mapping[UUID, Parent]] = MappingProxyType(dict(parents or {}))
        self.resume: Final = resume
        """What the last attempt has left by `checkpoint`; None when it left nothing."""
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
    def log(self) -> Any:
        """A logger as a worker's; the lines are kept."""
        return structlog.wrap_logger(
            structlog.PrintLogger(),
            processors=[self._keep],
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tell how far the job is, 0 to 100."""
        if not 0 <= percent <= 100:
            raise ValueError(f"progress is 0 to 100, not {percent!r}")
        self.said.append((float(percent), message))

    def checkpoint(self, data: Any) -> None:
        """Leave something for the next attempt; as JSON, as in a worker."""
        self.left = from_json(to_json(data))

    def raise_if_cancelled(self) -> None:
        """Do nothing: it is not cancelled."""

    def _keep(self, _logger: WrappedLogger, level: str, line: EventDict) -> EventDict:
        self.lines.append(dict(line) | {"level": level})
        raise structlog.DropEvent
