"""New jobs on their way into Postgres."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from distriqueue import failpoints
from distriqueue.core.errors import Conflict, DistriQueueError, StoreUnavailable
from distriqueue.core.retry import backoff_s
from distriqueue.core.states import Status
from distriqueue.store.jobs import JobStore, NewJob, Stored
from gateway.group_commit import GroupCommit
from gateway.publisher import Publisher

MAX_BATCH: Final = 1_000
TRY_AGAIN_S: Final = 2.0
"""How long a commit whose answer was lost is tried again, before its submitters get a 503."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs that are stored together or not at all."""

    jobs: tuple[NewJob, ...]
    own_ids: bool
    """The client chose ids, so one may be taken."""


class Intake:
    """Stores submissions by group commit, then offers their dispatches to the publisher."""

    def __init__(self, store: JobStore, publisher: Publisher, *, max_waiting: int) -> None:
        self._store = store
        self._publisher = publisher
        self._rng = random.SystemRandom()
        self.commits: GroupCommit[Submission, dict[UUID, Stored]] = GroupCommit(
            self._commit, name="intake", max_waiting=max_waiting, max_batch=MAX_BATCH
        )

    async def submit(self, submission: Submission) -> dict[UUID, Stored]:
        """Return what the commit said of each job; Overloaded, Conflict, StoreUnavailable."""
        return await self.commits.submit(submission, weight=len(submission.jobs))

    async def _commit(self, submissions: list[Submission]) -> Sequence[dict[UUID, Stored] | DistriQueueError]:
        together = [job for submission in submissions if not submission.own_ids for job in submission.jobs]
        stored = await self._insert(together) if together else {}
        failpoints.hit("gateway.after_commit")
        self._offer(together, stored)
        return [await self._insert_own(each.jobs) if each.own_ids else stored for each in submissions]

    async def _insert(self, jobs: list[NewJob]) -> dict[UUID, Stored]:
        """Try again after a lost answer: ids made here make the second try of a stored batch harmless."""
        deadline = asyncio.get_running_loop().time() + TRY_AGAIN_S
        failures = 0
        while True:
            try:
                return await self._store.insert(jobs)
            except StoreUnavailable:
                failures += 1
                pause_s = backoff_s(failures, self._rng, base_s=0.05)
                if asyncio.get_running_loop().time() + pause_s > deadline:
                    raise
                await asyncio.sleep(pause_s)

    async def _insert_own(self, jobs: tuple[NewJob, ...]) -> dict[UUID, Stored] | DistriQueueError:
        try:
            stored = await self._store.insert_own(jobs)
        except (Conflict, StoreUnavailable) as exc:
            return exc
        self._offer(jobs, stored)
        return stored

    def _offer(self, jobs: Sequence[NewJob], stored: dict[UUID, Stored]) -> None:
        self._publisher.offer(job.dispatch() for job in jobs if stored[job.id].status is Status.PENDING)
