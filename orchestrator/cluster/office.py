"""What the election's thread asks of the rest of the process: plain functions that only read, and one that tells."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.cluster.contacts import Vitals


class Verdict(StrEnum):
    """What is to become of a node in office."""

    STAY = "stay"
    HAND_OVER = "hand_over"
    """To a peer that reaches Postgres, if there is one."""
    RESIGN = "resign"


def _stay(_term: int, _in_office_s: float) -> Verdict:
    return Verdict.STAY


def _nothing() -> None:
    """Nobody listens yet."""


@dataclass(slots=True)
class Office:
    """Filled in by the leadership before the thread starts."""

    vitals: Callable[[], Vitals] = Vitals
    """What this node says of itself."""
    judge: Callable[[int, float], Verdict] = _stay
    """Asked at every tick of a leader, with its term and the seconds in office."""
    changed: Callable[[], None] = _nothing
    """Called when the role, the term, the leader or the having of a lease has changed."""
