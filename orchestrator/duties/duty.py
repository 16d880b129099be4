"""What a duty is to its supervisor."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run did, and when the next is wanted."""

    done: int
    more: bool = False
    """The batch was full: run again at once."""
    next_in_s: float | None = None
    """There will be something to do in so many seconds, perhaps before the interval is over."""
    note: str | None = None
    """Why the duty waits, if it does."""


class Duty(Protocol):
    """Something that the leader does again and again."""

    @property
    def name(self) -> str:
        """One word: in logs, metrics and the cluster's status."""

    @property
    def interval_s(self) -> float:
        """Longest wait between two runs."""

    async def run(self, epoch: int) -> Outcome:
        """Do one bounded batch under the epoch; raises Fenced, Unavailable."""
