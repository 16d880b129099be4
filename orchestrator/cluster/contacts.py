"""When each peer was heard, and what it said of itself."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a node tells the others of itself with every message."""

    reaches_store: bool = False
    """It has just recorded heartbeats in Postgres."""
    epoch: int | None = None
    """The epoch that it has claimed."""


@dataclass(frozen=True, slots=True)
class Contact:
    """The last authenticated word of a peer, by this node's clock."""

    at: float
    vitals: Vitals


class Contacts:
    """Written by the election's thread; others may read at any time, as entries are replaced and never changed."""

    def __init__(self, peers: Collection[str]) -> None:
        self._last: dict[str, Contact | None] = dict.fromkeys(peers)

    @property
    def last(self) -> Mapping[str, Contact | None]:
        """The last contact with each peer, None before the first."""
        return self._last

    def heard(self, peer: str, vitals: Vitals, now: float) -> None:
        """Note a word of a peer."""
        if peer in self._last:
            self._last[peer] = Contact(now, vitals)

    def vitals(self, peer: str, *, since: float) -> Vitals:
        """Return what a peer said last, nothing if that was before `since`."""
        contact = self._last.get(peer)
        return contact.vitals if contact is not None and contact.at >= since else Vitals()
