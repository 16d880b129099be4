"""Which lane is served next: start-time fair queueing (Goyal, Vin, Cheng 1996), pure and in integers.

Every lane has a cost per job, the inverse of its weight, and a start tag: the virtual time at which its next job is
due. The lane with the least tag is served, the more urgent first among equals; its tag then grows by its cost. Virtual
time is the tag last served, and a lane that was empty comes back no earlier than that: idleness saves up no credit.

What follows, with `c` the costs (16:8:4:1 makes them 1, 2, 4, 16):

- while two lanes stay full, their counts over any window, each times its cost, differ by at most the sum of both costs;
- a lane that asks for less than its share has a tag at virtual time, so it is served at once: only lanes that are
  themselves at virtual time come first, one job each;
- a job at the head of lane `i` sees at most `Σ over j ≠ i of (c_i // c_j + 1)` jobs of other lanes go first:
  3 for critical, 5 for high, 9 for medium, 31 for low. Nothing starves.

`strict` gives this up: a lane is served only while all more urgent ones are empty.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from distriqueue.core.job import Priority

WEIGHTS: Final[Mapping[Priority, int]] = MappingProxyType(
    {Priority.CRITICAL: 16, Priority.HIGH: 8, Priority.MEDIUM: 4, Priority.LOW: 1}
)


class LaneChoice:
    """The order in which a worker takes from its lanes."""

    def __init__(
        self, lanes: Sequence[Priority], *, weights: Mapping[Priority, int] = WEIGHTS, strict: bool = False
    ) -> None:
        if not lanes:
            raise ValueError("a worker needs at least one lane")
        self.lanes = tuple(lane for lane in Priority if lane in lanes)
        """Most urgent first."""
        whole = math.lcm(*(weights[lane] for lane in self.lanes))
        self._costs = {lane: whole // weights[lane] for lane in self.lanes}
        self._due = dict.fromkeys(self.lanes, 0)
        self._now = 0
        self._strict = strict

    def choose(self, waiting: Callable[[Priority], int]) -> Priority | None:
        """Return the lane to take one job from, and charge it; None when nothing waits in any."""
        chosen: Priority | None = None
        least = 0
        for lane in self.lanes:
            if not waiting(lane):
                continue
            if self._strict:
                return lane
            due = max(self._due[lane], self._now)
            if chosen is None or due < least:
                chosen, least = lane, due
        if chosen is not None:
            self._now = least
            self._due[chosen] = least + self._costs[chosen]
        return chosen

    def bound(self, lane: Priority) -> int:
        """Return how many jobs of other lanes may go before the job at the head of this one."""
        cost = self._costs[lane]
        return sum(cost // other + 1 for each, other in self._costs.items() if each is not lane)
