"""When a duty last got on: a leader whose duties all stand still hands over to a peer that reaches Postgres."""

import math
import time
from collections.abc import Callable

from orchestrator.duties.supervisor import Observer


class Progress:
    """An observer of the duties in front of another."""

    def __init__(self, behind: Observer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._behind = behind
        self._clock = clock
        self.at = -math.inf
        """By the monotonic clock, which stands still while the machine sleeps."""

    def duty_ran(self, duty: str, *, done: int, duration_s: float) -> None:
        """Note that a duty got on."""
        self.at = self._clock()
        self._behind.duty_ran(duty, done=done, duration_s=duration_s)

    def duty_failed(self, duty: str) -> None:
        """Pass it on."""
        self._behind.duty_failed(duty)
