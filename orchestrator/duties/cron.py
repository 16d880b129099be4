"""Fires cron schedules: makes each fire time's job, once, and sends it."""

from typing import Final

from distriqueue.store.schedules import ScheduleStore
from distriqueue.telemetry import get_logger
from orchestrator.duties.duty import Outcome
from orchestrator.duties.sender import Sender

log = get_logger("cron")


class CronFires:
    """Wakes for the next fire time; sends what it made at once, and what is not sent the dispatcher sends."""

    name: Final = "cron"
    interval_s: Final = 0.5

    def __init__(self, store: ScheduleStore, sender: Sender, *, batch: int = 50) -> None:
        self._store = store
        self._sender = sender
        self._batch = batch

    async def run(self, epoch: int) -> Outcome:
        """Fire one batch of schedules, the longest due first."""
        next_in_s = await self._store.next_due_s()
        if next_in_s is None or next_in_s > 0:
            return Outcome(0, next_in_s=next_in_s)
        fired = await self._store.fire(limit=self._batch, epoch=epoch)
        for name, error in fired.broken:
            log.error("schedule_cannot_fire", schedule=name, error=error)
        if fired.dispatches and self._sender.connected:
            await self._sender.send(fired.dispatches, epoch=epoch)
        # None although one is due: an operator holds the row, so wait. Some: look at once when the next is due.
        return Outcome(len(fired.dispatches), more=fired.schedules > 0)
