"""Sends again what is `queued` although the broker has nothing of it: its data was wiped, or the message lost."""

from datetime import datetime
from typing import Final

from distriqueue.core.job import Priority
from distriqueue.core.ports import Broker
from distriqueue.store.duties import DutyStore
from distriqueue.telemetry import get_logger
from orchestrator.duties.duty import Outcome
from orchestrator.duties.sender import Sender

log = get_logger("reconciler")


class Reconciler:
    """Concludes from an empty lane that what was queued in it some time before is lost, and sends all of that.

    The jobs go back to `pending` first, fenced, so whatever happens then, the dispatcher sends them. A conclusion holds
    for its moment: it is worked off in batches even though the lane fills up with them. It may be wrong about what a
    worker holds and has not claimed yet; that is dispatched twice, and the claim sorts it out.
    """

    name: Final = "reconciler"
    interval_s: Final = 5.0

    def __init__(
        self, store: DutyStore, broker: Broker, sender: Sender, *, older_than_s: float = 15.0, batch: int = 500
    ) -> None:
        self._store = store
        self._broker = broker
        self._sender = sender
        self._older_than_s = older_than_s
        self._batch = batch
        self._lost: tuple[frozenset[Priority], datetime] | None = None
        """Lanes in which nothing is left of what was queued before that moment."""

    async def run(self, epoch: int) -> Outcome:
        """Send one batch; BrokerUnavailable while there is something to look into and no broker to ask."""
        self._lost = self._lost or await self._look()
        if self._lost is None:
            return Outcome(0)
        lanes, before = self._lost
        jobs = await self._store.take_back(lanes, queued_before=before, limit=self._batch, epoch=epoch)
        full = len(jobs) == self._batch
        if not full:
            self._lost = None
        if jobs:
            log.warning("dispatches_lost", jobs=len(jobs), lanes=sorted(lanes))
            await self._sender.send(jobs, epoch=epoch)
        return Outcome(len(jobs), more=full)

    async def _look(self) -> tuple[frozenset[Priority], datetime] | None:
        """Ask Postgres between two looks at the broker, so that a message that moves meanwhile is seen once."""
        if await self._store.queued_before(older_than_s=self._older_than_s) is None:
            return None
        empty = await self._empty()
        before = await self._store.queued_before(older_than_s=self._older_than_s) if empty else None
        if before is None:
            return None
        empty &= await self._empty()
        return (empty, before) if empty else None

    async def _empty(self) -> frozenset[Priority]:
        depths = await self._broker.depths()
        return frozenset(lane for lane, depth in depths.items() if depth.ready == 0 and depth.unacked == 0)
