"""Sync handlers in threads of our own: daemons, for a thread cannot be killed and must not keep the process alive."""

import asyncio
import contextlib
import contextvars
import itertools
import queue
import threading
from collections import deque
from typing import TypeAlias

from workers.runtime.attempt import Attempt, Stop
from workers.runtime.calls import call_sync
from workers.runtime.outcome import INTERRUPTED, Outcome
from workers.runtime.runner import Done

_Work: TypeAlias = "tuple[Attempt, contextvars.Context] | None"


class ThreadRunner:
    """Starts threads as they are needed and keeps `keep` of them; one that hangs is replaced, not waited for."""

    def __init__(self, done: Done, *, keep: int) -> None:
        self._done = done
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._idle = 0
        self._names = itertools.count(1)
        self._results: deque[tuple[Attempt, Outcome]] = deque()
        self._signalled = False

    def grace_s(self, reason: Stop) -> float:
        """An overdue thread is reported at once; one that is to stop may notice `context.cancelled` first."""
        return 0.0 if reason is Stop.OVERDUE else 1.0

    def start(self, attempt: Attempt) -> None:
        """Run the attempt in an idle thread, or in a new one."""
        if self._idle:
            self._idle -= 1
        else:
            name = f"handler-{next(self._names)}"
            threading.Thread(target=self._run, name=name, daemon=True).start()
        self._work.put((attempt, attempt.scope or contextvars.copy_context()))

    def stop(self, attempt: Attempt) -> None:
        """Nothing beyond `context.cancelled`, which is set: the handler has to look at it."""

    async def close(self) -> None:
        """Let the idle threads end."""
        for _ in range(self._idle):
            self._work.put(None)
        self._idle = 0

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            attempt, context = work
            stopped = attempt.context.cancelled.is_set()
            outcome = (
                INTERRUPTED
                if stopped
                else context.run(call_sync, attempt.handler, attempt.dispatch, attempt.context, attempt.given)
            )
            self._results.append((attempt, outcome))
            # One wake-up of the loop serves all threads that end before it comes round.
            if not self._signalled:
                self._signalled = True
                with contextlib.suppress(RuntimeError):  # the loop is closed: this one was abandoned, nobody waits
                    self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._signalled = False
        while self._results:
            attempt, outcome = self._results.popleft()
            if self._idle < self._keep:
                self._idle += 1
            else:
                self._work.put(None)
            self._done(attempt, outcome)
