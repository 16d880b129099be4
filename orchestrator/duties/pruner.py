"""Forgets workers that stopped or fell silent long ago: every start of a worker is a row of its own."""

from typing import Final

from distriqueue.store.workers import WorkerStore
from orchestrator.duties.duty import Outcome

OLDER_THAN_S: Final = 24 * 3600.0


class Pruner:
    """Deletes in bounded batches."""

    name: Final = "pruner"
    interval_s: Final = 60.0

    def __init__(self, workers: WorkerStore, *, batch: int = 500) -> None:
        self._workers = workers
        self._batch = batch

    async def run(self, epoch: int) -> Outcome:
        """Delete one batch."""
        pruned = await self._workers.prune(older_than_s=OLDER_THAN_S, limit=self._batch, epoch=epoch)
        return Outcome(pruned, more=pruned == self._batch)
