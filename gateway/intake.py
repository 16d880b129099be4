"""New jobs on their way into Postgres."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from distriqueue import failpoints
from distriqueue.core.errors import DistriQueueError, StoreUnavailable
from distriqueue.core.retry import backoff_s
from distriqueue.core.states import Status
from distriqueue.store.jobs import JobStore, NewBatch, NewJob, Stored
from distriqueue.store.submissions import Accepted, Submission, SubmissionStore
from distriqueue.telemetry.tracing import current
from gateway.group_commit import GroupCommit, OnCommit, untold
from gateway.publisher import Publisher

MAX_BATCH: Final = 1_000
LIGHT: Final = 8
HEAVY: Final = 200
"""Jobs in a commit beside which another starts at once, and jobs waiting that are worth another in any case."""
MAX_LOOKED_AT: Final = 250
"""Each may lock a key in Postgres, whose table of locks is shared by all."""
TRY_AGAIN_S: Final = 2.0
"""How long a commit whose answer was lost is tried again, before its submitters get a 503."""


class Intake:
    """Stores submissions by group commit, then offers their dispatches to the publisher.

    Plain ones go one way, those that need a look another: they may have to wait for each other's keys.
    """

    def __init__(
        self,
        store: JobStore,
        submissions: SubmissionStore,
        publisher: Publisher,
        *,
        max_waiting: int,
        committed: Callable[[], None],
        on_commit: OnCommit = untold,
    ) -> None:
        self._store = store
        self._submissions = submissions
        self._publisher = publisher
        self._committed = committed
        self._rng = random.SystemRandom()
        self.plain: GroupCommit[Submission, Accepted] = GroupCommit(
            self._commit,
            name="intake",
            max_waiting=max_waiting,
            max_batch=MAX_BATCH,
            light=LIGHT,
            heavy=HEAVY,
            on_commit=on_commit,
        )
        self.looked_at: GroupCommit[Submission, Accepted] = GroupCommit(
            self._look_and_commit,
            name="intake_with_a_look",
            max_waiting=max_waiting,
            max_batch=MAX_LOOKED_AT,
            on_commit=on_commit,
        )

    async def submit(self, submission: Submission) -> Accepted:
        """Return what the commit said of each job; Overloaded, Conflict, InvalidRequest, StoreUnavailable."""
        trace = current()
        if trace is not None:
            submission = submission.traced(trace)
        commits = self.plain if submission.is_plain else self.looked_at
        return await commits.submit(submission, weight=len(submission.jobs))

    async def _commit(self, submissions: list[Submission]) -> Sequence[Accepted | DistriQueueError]:
        jobs = [job for submission in submissions for job in submission.jobs]
        stored = await self._insert(jobs, [each.batch for each in submissions if each.batch is not None])
        failpoints.hit("gateway.after_commit")
        self._committed()
        self._publisher.offer(job.dispatch() for job in jobs if stored[job.id].status is Status.PENDING)
        return [
            Accepted([stored[job.id] for job in each.jobs], None if each.batch is None else each.batch.id)
            for each in submissions
        ]

    async def _insert(self, jobs: list[NewJob], batches: list[NewBatch]) -> dict[UUID, Stored]:
        """Try again after a lost answer: ids made here make the second try of a stored batch harmless."""
        deadline = asyncio.get_running_loop().time() + TRY_AGAIN_S
        failures = 0
        while True:
            try:
                return await self._store.insert(jobs, batches)
            except StoreUnavailable:
                failures += 1
                pause_s = backoff_s(failures, self._rng, base_s=0.05)
                if asyncio.get_running_loop().time() + pause_s > deadline:
                    raise
                await asyncio.sleep(pause_s)

    async def _look_and_commit(self, submissions: list[Submission]) -> Sequence[Accepted | DistriQueueError]:
        commit = await self._submissions.accept(submissions)
        failpoints.hit("gateway.after_commit")
        self._committed()
        self._publisher.offer(commit.ready)
        return commit.answers
