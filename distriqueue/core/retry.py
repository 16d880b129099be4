"""When a failed attempt is tried again."""

from dataclasses import dataclass
from typing import Final, Protocol


class Uniform(Protocol):
    """Randomness as an argument: `random.Random` satisfies it."""

    def random(self) -> float:
        """Return a float in [0, 1)."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter: `base_s × factor**n`, at most `cap_s`, times a draw from [½, 1)."""

    base_s: float = 2.0
    factor: float = 2.0
    cap_s: float = 600.0

    def delay_s(self, retry: int, rng: Uniform) -> float:
        """Return the wait before retry number `retry` (0 is the first), in seconds."""
        try:
            raw_s = self.base_s * self.factor**retry
        except OverflowError:
            raw_s = self.cap_s
        return min(raw_s, self.cap_s) * (0.5 + rng.random() / 2)


DEFAULT_RETRY_POLICY: Final = RetryPolicy()


def backoff_s(failures: int, rng: Uniform, *, base_s: float = 0.1, cap_s: float = 5.0) -> float:
    """Return how long a loop of ours waits after its `failures`-th failure in a row (1 is the first), in seconds."""
    return RetryPolicy(base_s=base_s, cap_s=cap_s).delay_s(max(failures - 1, 0), rng)
