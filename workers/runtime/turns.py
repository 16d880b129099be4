"""Whose turn it is among attempts of types that may run only so often at once in one worker. Pure."""

from collections import Counter, deque

from workers.runtime.attempt import Attempt


class Turns:
    """Counts what runs of each limited type, and keeps who waits, first come, first served."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Attempt]] = {}
        self.waiting = 0
        """How many wait, of all types."""

    def take(self, attempt: Attempt) -> bool:
        """Let the attempt run, or tell that it has to wait for others of its type."""
        if not self._is_free(attempt):
            return False
        self._running[attempt.handler.type] += 1
        return True

    def wait(self, attempt: Attempt) -> None:
        """Put the attempt at the end of its type's line."""
        self._waiting.setdefault(attempt.handler.type, deque()).append(attempt)
        self.waiting += 1

    def leave(self, attempt: Attempt) -> None:
        """Take the attempt out of its line."""
        line = self._waiting[attempt.handler.type]
        line.remove(attempt)
        if not line:
            del self._waiting[attempt.handler.type]
        self.waiting -= 1

    def ended(self, attempt: Attempt) -> None:
        """Its handler runs no more."""
        self._running[attempt.handler.type] -= 1

    def next(self) -> Attempt | None:
        """Return who may run now and waits, the oldest of its type; `leave` and `take` are still to be called."""
        return next((line[0] for line in self._waiting.values() if self._is_free(line[0])), None)

    def _is_free(self, attempt: Attempt) -> bool:
        most = attempt.handler.concurrency
        return most is None or self._running[attempt.handler.type] < most
