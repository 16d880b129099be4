"""Since when heartbeats are recorded without a gap: the reaper's evidence that silence is the worker's and not ours."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

MAX_GAP_S: Final = 2.0
"""Recordings further apart than this are a gap. Flushes come every quarter of a second."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An unbroken run of recordings, by the database's clock.

    One rule covers every outage of ours: a stalled loop, a suspended process or machine, and a database that was away
    all show as recordings too far apart. So does a database whose clock was set.
    """

    since: datetime
    at: datetime

    @property
    def unbroken_s(self) -> float:
        """How long heartbeats have been recorded without a gap, in seconds."""
        return (self.at - self.since).total_seconds()

    def extended(self, at: datetime) -> "Recording":
        """Return the recording with one more at `at`; a new run when that is too late, or before the last."""
        gap_s = (at - self.at).total_seconds()
        return Recording(self.since if 0 <= gap_s <= MAX_GAP_S else at, at)
