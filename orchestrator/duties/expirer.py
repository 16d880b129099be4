"""Ends what was to have started by now and has not."""

from typing import Final

from distriqueue.store.duties import DutyStore
from orchestrator.duties.duty import Outcome
from orchestrator.duties.sender import Sender


class Expirer:
    """Wakes for the next expiry."""

    name: Final = "expirer"
    interval_s: Final = 0.5

    def __init__(self, store: DutyStore, sender: Sender, *, batch: int = 500) -> None:
        self._store = store
        self._sender = sender
        self._batch = batch

    async def run(self, epoch: int) -> Outcome:
        """End one batch, the longest expired first."""
        next_in_s = await self._store.next_expiry_s()
        if next_in_s is None or next_in_s > 0:
            return Outcome(0, next_in_s=next_in_s)
        expired = await self._store.expire(limit=self._batch, epoch=epoch)
        await self._sender.offer(expired.ready, epoch=epoch)
        return Outcome(expired.jobs, more=bool(expired.jobs))
