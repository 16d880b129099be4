"""The part of Postgres that leadership relies on: one row with row locks, and a table with a unique key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World


class Outcome(StrEnum):
    """How the database answered."""

    DONE = "done"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a claim or a duty; `epoch` is the one in the table."""

    outcome: Outcome
    epoch: int


Reply = Callable[[Answer], None]


class SimPostgres:
    """`claim` is the UPDATE of the leadership row; `commit_duty` is `SELECT fence(:term); COMMIT`.

    A fence takes the row FOR SHARE until its commit, a claim takes it for update: each waits for the other, and reads
    the row again once it has the lock (READ COMMITTED).
    """

    def __init__(self, world: World, slot_s: float) -> None:
        self._world = world
        self._slot_s = slot_s
        self._shared_until_s = 0.0
        self._claimed_until_s = 0.0
        self._outages = 0
        self.is_up = True
        self.epoch = 0
        self.owner: tuple[str, str] | None = None
        self.fired_slots: set[int] = set()
        self.next_slot = 0

    def fail(self) -> None:
        """Starts an outage; whatever was not committed is lost."""
        self.is_up = False
        self._outages += 1

    def due_slots(self) -> range:
        """Fire times that are due and not fired, as a transaction begun now sees them. Database time."""
        return range(self.next_slot, int(self._world.now_s / self._slot_s) + 1)

    def claim(self, term: int, owner: tuple[str, str], reply: Reply) -> None:
        """Claims the epoch for a term."""
        now_s = self._world.now_s
        if not self.is_up:
            reply(Answer(Outcome.UNAVAILABLE, 0))
        elif now_s < (free_at_s := max(self._shared_until_s, self._claimed_until_s)):
            self._world.at(free_at_s, self.claim, term, owner, reply)
        elif self._may_claim(term, owner):
            self._claimed_until_s = now_s + self._commit_s()
            self._world.at(self._claimed_until_s, self._commit_claim, term, owner, self._outages, reply)
        else:
            reply(Answer(Outcome.REFUSED, self.epoch))

    def commit_duty(self, term: int, slots: range, reply: Reply) -> None:
        """Ends a duty's transaction that wants to fire these slots."""
        now_s = self._world.now_s
        if not self.is_up:
            reply(Answer(Outcome.UNAVAILABLE, 0))
        elif now_s < self._claimed_until_s:
            self._world.at(self._claimed_until_s, self.commit_duty, term, slots, reply)
        elif self._fence(term):
            done_at_s = now_s + self._commit_s()
            self._share_row(done_at_s)
            self._world.at(done_at_s, self._commit_slots, term, slots, self._outages, reply)
        else:
            reply(Answer(Outcome.REFUSED, self.epoch))

    def _may_claim(self, term: int, owner: tuple[str, str]) -> bool:
        return self.epoch < term or (self.epoch == term and self.owner == owner)

    def _fence(self, term: int) -> bool:
        return self.epoch == term

    def _share_row(self, until_s: float) -> None:
        self._shared_until_s = max(self._shared_until_s, until_s)

    def _commit_s(self) -> float:
        return self._world.rng.uniform(0.0002, 0.004)

    def _commit_claim(self, term: int, owner: tuple[str, str], outages: int, reply: Reply) -> None:
        if outages != self._outages:
            reply(Answer(Outcome.UNAVAILABLE, 0))
            return
        self.epoch, self.owner = term, owner
        self._world.checks.epoch_claimed(term, owner)
        reply(Answer(Outcome.DONE, term))

    def _commit_slots(self, term: int, slots: range, outages: int, reply: Reply) -> None:
        if outages != self._outages:
            reply(Answer(Outcome.UNAVAILABLE, 0))
        elif not self.fired_slots.isdisjoint(slots):  # the unique key
            reply(Answer(Outcome.REFUSED, self.epoch))
        else:
            self.fired_slots.update(slots)
            self.next_slot = max(self.next_slot, slots.stop)
            self._world.checks.duty_committed(term, slots)
            reply(Answer(Outcome.DONE, term))
