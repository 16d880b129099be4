"""Finishes what follows from the ends of jobs: what was too much for the transactions that ended them.

Whoever ends a job does what follows at once, but a bounded amount of it: the rest of a long line of children is left to
this. It also looks for slots that are free although someone waits for them, so that no fault makes a key stand still.
"""

from typing import Final

from distriqueue.store.duties import DutyStore
from orchestrator.duties.duty import Outcome
from orchestrator.duties.sender import Sender

LEFT_OVER: Final = 50
"""Ends to go on with in one transaction."""


class Follower:
    """Empties the list of what was left over, and walks the concurrency keys that are waited for."""

    name: Final = "follower"
    interval_s: Final = 0.5

    def __init__(self, store: DutyStore, sender: Sender, *, batch: int = 200) -> None:
        self._store = store
        self._sender = sender
        self._batch = batch
        self._after = ""

    async def run(self, epoch: int) -> Outcome:
        """Do one batch of each."""
        left = await self._store.follow_up(limit=LEFT_OVER, epoch=epoch)
        await self._sender.offer(left.ready, epoch=epoch)
        after, admitted = await self._store.admit(self._after, limit=self._batch, epoch=epoch)
        self._after = after or ""
        await self._sender.offer(admitted, epoch=epoch)
        return Outcome(left.jobs + len(admitted), more=bool(left.jobs) or after is not None)
