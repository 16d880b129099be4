"""Forgets, after about a day, idempotency keys and workers that ended: each start of one has a row of its own."""

from typing import Final

from distriqueue.store.submissions import SubmissionStore
from distriqueue.store.workers import WorkerStore
from orchestrator.duties.duty import Outcome

DAY_S: Final = 24 * 3600.0


class Pruner:
    """Deletes in bounded batches."""

    name: Final = "pruner"
    interval_s: Final = 60.0

    def __init__(
        self, workers: WorkerStore, submissions: SubmissionStore, *, keep_keys_s: float = DAY_S, batch: int = 500
    ) -> None:
        self._workers = workers
        self._submissions = submissions
        self._keep_keys_s = keep_keys_s
        self._batch = batch

    async def run(self, epoch: int) -> Outcome:
        """Delete one batch of each."""
        workers = await self._workers.prune(older_than_s=DAY_S, limit=self._batch, epoch=epoch)
        keys = await self._submissions.forget_keys(older_than_s=self._keep_keys_s, limit=self._batch, epoch=epoch)
        return Outcome(workers + keys, more=self._batch in (workers, keys))
