"""How many jobs to claim beyond the free slots, so that a slot need not wait for an HTTP round trip.

Little's law: slots that each end a job every `job_s` seconds use up `capacity × claim_s / job_s` jobs during one claim.
Jobs that are long against a claim get nothing ahead, so a claimed job hardly waits; what waits longer than
`STALLED_S` after all, because long jobs follow upon short ones, is given back (`released`, not charged).
"""

import math
from typing import Final

STALLED_S: Final = 0.5
_ALPHA: Final = 0.1


def deepest(capacity: int) -> int:
    """Return the most that may ever be claimed ahead; the broker's prefetch has room for it."""
    return min(4 * capacity, 256)


class ClaimAhead:
    """Measures claims and jobs; tells how many to claim ahead. Nothing ahead until both are known."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._deepest = deepest(capacity)
        self._claim_s = 0.0
        self._job_s = float("inf")

    def claimed(self, took_s: float) -> None:
        """Note how long one claim took, from its entry in the outbox to its answer."""
        self._claim_s += (took_s - self._claim_s) * (_ALPHA if self._claim_s else 1.0)

    def ended(self, took_s: float) -> None:
        """Note how long one job ran. A longer one counts at once, shorter ones by and by: err on holding little."""
        if took_s > self._job_s or self._job_s == float("inf"):
            self._job_s = took_s
        else:
            self._job_s += (took_s - self._job_s) * _ALPHA

    @property
    def depth(self) -> int:
        """How many to claim ahead now."""
        wanted = self._capacity * self._claim_s
        return self._deepest if wanted >= self._deepest * self._job_s else math.ceil(wanted / self._job_s)
