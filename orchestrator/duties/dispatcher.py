"""Sends `pending` jobs that no gateway sent: it died before, or its broker was away."""

from typing import Final

from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.store.duties import DutyStore, Place
from orchestrator.duties.duty import Outcome
from orchestrator.duties.sender import Sender

OLDER_THAN_S: Final = 1.0
"""A gateway gets so long to send what it stored."""


class Dispatcher:
    """Walks each lane from its oldest job to its newest, then begins anew."""

    name: Final = "dispatcher"
    interval_s: Final = 0.5

    def __init__(self, store: DutyStore, sender: Sender, *, batch: int = 500) -> None:
        self._store = store
        self._sender = sender
        self._batch = batch
        self._after: dict[Priority, Place] = {}

    async def run(self, epoch: int) -> Outcome:
        """Send one batch; BrokerUnavailable when the broker took nothing of it."""
        await self._sender.mark(epoch=epoch)
        seen = await self._store.stranded(self._after, older_than_s=OLDER_THAN_S, limit=self._batch)
        jobs = [job for job in seen if not job.is_held]
        if jobs and not self._sender.connected:
            raise BrokerUnavailable("the broker is not connected: pending jobs wait")
        full = len(seen) == self._batch
        passed = {job.dispatch.priority: job.place for job in seen if full or job.goes_on}
        self._after = self._after | passed if full else passed
        if not jobs:
            return Outcome(0)
        sent = await self._sender.send([job.dispatch for job in jobs], epoch=epoch)
        if sent.offered and not sent.confirmed:
            raise BrokerUnavailable(f"the broker confirmed none of {sent.offered} dispatches")
        return Outcome(sent.confirmed, more=bool(passed))
