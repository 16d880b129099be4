"""Counting votes."""

from __future__ import annotations


def quorum_size(voter_count: int) -> int:
    """The smallest majority."""
    return voter_count // 2 + 1


class Tally:
    """Answers to one round of one phase: a set of members, so a repeated answer counts once."""

    __slots__ = ("_granted", "_quorum", "_refused", "seq")

    def __init__(self, seq: int, own_id: str, quorum: int) -> None:
        self.seq = seq
        self._quorum = quorum
        self._granted = {own_id}
        self._refused: set[str] = set()

    def grant(self, voter_id: str) -> None:
        """Counts a vote."""
        self._granted.add(voter_id)

    def refuse(self, voter_id: str) -> bool:
        """Notes a refusal; true for the first of the round."""
        self._refused.add(voter_id)
        return len(self._refused) == 1

    @property
    def is_won(self) -> bool:
        """Whether a quorum granted."""
        return len(self._granted) >= self._quorum
