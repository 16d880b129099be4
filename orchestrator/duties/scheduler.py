"""Makes jobs that are due `pending`: those scheduled for a time, and retries whose backoff is over."""

from typing import Final

from distriqueue.store.duties import DutyStore
from orchestrator.duties.duty import Outcome
from orchestrator.duties.sender import Sender


class Scheduler:
    """Wakes for the next due time; sends what it woke at once, and what is not sent the dispatcher sends."""

    name: Final = "scheduler"
    interval_s: Final = 0.5

    def __init__(self, store: DutyStore, sender: Sender, *, batch: int = 500) -> None:
        self._store = store
        self._sender = sender
        self._batch = batch

    async def run(self, epoch: int) -> Outcome:
        """Wake one batch, the longest due first."""
        next_in_s = await self._store.next_due_s()
        if next_in_s is None or next_in_s > 0:
            return Outcome(0, next_in_s=next_in_s)
        due = await self._store.promote(limit=self._batch, epoch=epoch)
        await self._sender.offer(due.ready, epoch=epoch)
        # None although one is due: others hold the rows, so wait. Some: look at once when the next is due.
        return Outcome(due.jobs, more=bool(due.jobs))
