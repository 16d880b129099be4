"""What the executor asks of a way to run handlers; and the simplest one, tasks in the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from workers.runtime.attempt import Attempt, Stop
from workers.runtime.calls import call_async
from workers.runtime.outcome import INTERRUPTED, Outcome

Done: TypeAlias = Callable[[Attempt, Outcome], None]
"""The handler has really ended; called in the loop, once for each attempt started."""

STOP_GRACE_S: Final = 1.0
"""How long a handler that was told to stop may take to clean up, until it is abandoned."""


class Runner(Protocol):
    """One of the three ways to run a handler."""

    def grace_s(self, reason: Stop) -> float:
        """Return how long an attempt may take to end after `stop`."""

    def start(self, attempt: Attempt) -> None:
        """Run the attempt's handler."""

    def stop(self, attempt: Attempt) -> None:
        """Make it end soon, as far as this way to run allows."""

    async def close(self) -> None:
        """Free what is idle; called when no attempt runs any more."""


class LoopRunner:
    """Async handlers: one task each, cancelled to stop it."""

    def __init__(self, group: asyncio.TaskGroup, done: Done) -> None:
        self._group = group
        self._done = done

    def grace_s(self, _reason: Stop) -> float:
        """Time for its `finally` blocks."""
        return STOP_GRACE_S

    def start(self, attempt: Attempt) -> None:
        """Run the attempt as a task."""
        attempt.task = self._group.create_task(self._run(attempt), context=attempt.scope)

    def stop(self, attempt: Attempt) -> None:
        """Cancel the task, unless its first step is still to come: that step looks for itself."""
        if attempt.task is not None and attempt.began:
            attempt.task.cancel()

    async def close(self) -> None:
        """Nothing is kept."""

    async def _run(self, attempt: Attempt) -> None:
        attempt.began = True
        outcome = INTERRUPTED
        if attempt.stop is None:
            outcome = await call_async(attempt.handler, attempt.dispatch, attempt.context, attempt.given)
            task = asyncio.current_task()
            if outcome is INTERRUPTED and attempt.stop is None and task is not None and task.cancelling():
                raise asyncio.CancelledError  # not the attempt: the whole worker is being torn down
        self._done(attempt, outcome)
