"""One attempt in a slot: its clock, its end, and who may still change its mind about it."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from distriqueue.core.messages import Dispatch, ReportStatus
from workers.handlers.registry import Handler
from workers.runtime.context import AttemptContext, OnNews, ProgressSink
from workers.runtime.outcome import CANCELLED, INTERRUPTED, RELEASED, Outcome, overdue
from workers.runtime.pending import NOTHING, Granted
from workers.runtime.recent import AttemptKey

if TYPE_CHECKING:
    from opentelemetry.trace import Span

OnFree: TypeAlias = Callable[[float], None]
"""Called once when the attempt leaves its slot, with the seconds that it ran."""


class Stop(Enum):
    """Why a running attempt is asked to stop."""

    OVERDUE = "overdue"
    CANCELLED = "cancelled"
    RELEASED = "released"


@dataclass(slots=True, eq=False)
class Attempt:
    """What the executor keeps of a running attempt. It ends once, and leaves its slot once, perhaps later."""

    key: AttemptKey
    dispatch: Dispatch
    handler: Handler
    on_free: OnFree
    timeout_s: float
    started_at: float
    granted: Granted = NOTHING
    given: Mapping[str, Any] | None = None
    """What the handler asks for by type."""
    context: AttemptContext = field(init=False)
    stop: Stop | None = None
    ended: bool = False
    """Its end is in the outbox."""
    abandoned: bool = False
    """It ended for us while its handler went on."""
    waits_for_turn: bool = False
    """Too many of its type run: it has no slot yet."""
    in_slot: bool = True
    began: bool = False
    """Its handler has been called; a task cancelled before would never run at all."""
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    progress: tuple[float, str | None] | None = None
    progress_sent: tuple[float, str | None] | None = None
    progress_at: float = float("-inf")
    progress_due: bool = False
    span: "Span | None" = None
    """Of its run, if its job is traced."""
    scope: contextvars.Context | None = None
    """What its handler runs in, if that is not what the worker does: its span is the current one there."""

    @classmethod
    def of(cls, dispatch: Dispatch, handler: Handler, on_free: OnFree, granted: Granted = NOTHING) -> "Attempt":
        """Put a dispatch into a slot; the handler may shorten its timeout."""
        timeout_s = dispatch.execution_timeout_s
        if handler.timeout_s is not None:
            timeout_s = min(timeout_s, handler.timeout_s)
        key = (dispatch.job_id, dispatch.attempt)
        return cls(key, dispatch, handler, on_free, timeout_s, time.monotonic(), granted)

    def open_context(self, sink: ProgressSink, on_news: OnNews) -> None:
        """Make what the handler sees."""
        self.context = AttemptContext(
            self.dispatch.job_id,
            self.dispatch.attempt,
            self.dispatch.type,
            deadline=self.started_at + self.timeout_s,
            sink=sink,
            parents=self.granted.parents,
            resume=self.granted.checkpoint,
            on_news=on_news,
        )

    def begin_anew(self) -> None:
        """Its time starts now: it has waited for its turn."""
        self.started_at = time.monotonic()
        self.context.deadline = self.started_at + self.timeout_s

    def settle(self, outcome: Outcome | None) -> Outcome:
        """Return the end to report, from how the handler ended (None: it has not) and why it was told to stop."""
        completed = outcome is not None and outcome.status is ReportStatus.COMPLETED
        match self.stop:
            case None:
                return outcome or INTERRUPTED
            case Stop.OVERDUE:
                return overdue(self.timeout_s)
            case Stop.CANCELLED:
                return outcome if outcome is not None and completed else CANCELLED
            case Stop.RELEASED:
                return outcome if outcome is not None and completed else RELEASED
            case _:
                assert_never(self.stop)
