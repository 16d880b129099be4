"""Jobs coming in, being dispatched, cancelled and retried by clients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg

from distriqueue.core.errors import Conflict, NotFound
from distriqueue.core.job import JobId, Priority
from distriqueue.core.messages import Dispatch
from distriqueue.core.states import RETRIABLE, Status
from distriqueue.store.database import Database, again
from distriqueue.store.followups import admit, dispatches, follow_up
from distriqueue.store.statements import load

SQL: Final = load("jobs.sql")
TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Extras:
    """What few jobs have; a job without any takes the short way into the store."""

    retry_policy_json: str | None = None
    expires_at: datetime | None = None
    queue_timeout_s: float | None = None
    """As `expires_at`, but counted from when the job is ready; the earlier of both counts."""
    unique_key: str | None = None
    on_conflict: Literal["reject", "return_existing"] = "reject"
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    callback_url: str | None = None
    parents: tuple[UUID, ...] = ()
    run_anyway: bool = False
    """Run once all parents have ended, however they did."""
    trace: str | None = None
    """The `traceparent` of its submission."""


NO_EXTRAS: Final = Extras()


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that was checked and waits for its commit; `payload_json`, `tags` and `metadata_json` are as stored."""

    id: JobId
    type: str
    priority: Priority
    payload: dict[str, Any]
    payload_json: str
    max_retries: int
    execution_timeout_s: float
    due_at: datetime | None = None
    batch_id: UUID | None = None
    tags: tuple[str, ...] = ()
    metadata_json: str | None = None
    extras: Extras = NO_EXTRAS

    def dispatch(self) -> Dispatch:
        """The first attempt's dispatch."""
        return Dispatch(self.id, 1, self.type, self.priority, self.payload, self.execution_timeout_s, self.extras.trace)


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What is kept of jobs that came together."""

    id: UUID
    jobs: int
    name: str | None = None
    sequential: bool = False
    stop_on_failure: bool = False
    max_concurrent: int | None = None
    callback_url: str | None = None

    @property
    def is_followed(self) -> bool:
        """Whether an end of one of its jobs may have consequences for the batch."""
        return self.stop_on_failure or self.callback_url is not None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the commit said of a new job."""

    id: UUID
    created_at: datetime
    status: Status
    is_new: bool = True
    """False: a job with its unique key was there already, and this is that one."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancel did: to each job, and what became pending by it."""

    statuses: dict[UUID, Status]
    """`cancelled`, or `running` where the worker must first be told; jobs that had ended are left out."""
    ready: list[Dispatch]


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry did."""

    ids: list[UUID]
    ready: list[Dispatch]


class JobStore:
    """Writes that gateways and duties make to jobs, except workers' reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, jobs: Sequence[NewJob], batches: Sequence[NewBatch] = ()) -> dict[UUID, Stored]:
        """Store jobs without extras, with server-made ids, in one commit; may be repeated after a lost answer.

        Raises StoreUnavailable. Jobs with extras, or ids of their clients' choice, go through `SubmissionStore`.
        """
        if batches:
            async with self._database.transaction() as connection:
                await insert_batches(connection, batches)
                rows = await connection.fetch(SQL["insert"], *columns(jobs))
        else:
            rows = await self._database.fetch(SQL["insert"], *columns(jobs))
        if len(rows) < len(jobs):
            rows = await self._database.fetch(SQL["stored"], [job.id for job in jobs])
        return {row["id"]: Stored(row["id"], row["created_at"], Status(row["status"])) for row in rows}

    async def mark_queued(self, sent: Sequence[Dispatch], *, epoch: int | None = None) -> int:
        """Mark confirmed dispatches `queued`; those claimed or cancelled meanwhile are left. Returns how many."""
        ordered = sorted(sent, key=lambda dispatch: dispatch.job_id)
        ids, attempts = [each.job_id for each in ordered], [each.attempt for each in ordered]

        async def run() -> int:
            if epoch is None:
                return len(await self._database.fetch(SQL["mark_queued"], ids, attempts, steady=True))
            async with self._database.transaction(epoch=epoch) as connection:
                return len(await connection.fetch(SQL["mark_queued"], ids, attempts))

        return await again(run)

    async def cancel(self, job_id: UUID) -> Cancelled:
        """Cancel a job; NotFound, Conflict."""
        done = await self.cancel_many([job_id])
        if not done.statuses:
            raise await self._why_not(job_id, "cancel")
        return done

    async def cancel_many(self, job_ids: Sequence[UUID]) -> Cancelled:
        """Cancel those that have not ended, in one transaction: waiting ones at once, running ones by their workers."""

        async def run() -> Cancelled:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(SQL["cancel"], sorted(job_ids))
                over = [row["id"] for row in rows if row["followed"] and row["status"] == "cancelled"]
                ready = await follow_up(connection, over)
            return Cancelled({row["id"]: Status(row["status"]) for row in rows}, ready)

        return await again(run)

    async def retry(self, job_id: UUID) -> Retried:
        """Make a failed, timed out or cancelled job wait to be run again, as its next attempt; NotFound, Conflict."""
        done = await self.retry_many([job_id])
        if not done.ids:
            raise await self._why_not(job_id, "retry")
        return done

    async def retry_many(self, job_ids: Sequence[UUID], *, per_s: float | None = None, before: int = 0) -> Retried:
        """Retry those that ended badly, in one transaction, all now, or `per_s` a second after `before` others.

        Left out are those whose unique key an unfinished job has by now; of several with one key, all but the newest.
        """

        async def run() -> Retried:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(SQL["retry"], sorted(job_ids), per_s, before)
                ready = await dispatches(connection, [row["id"] for row in rows if row["status"] == "pending"])
                ready += await admit(connection, [row["concurrency_key"] for row in rows])
            return Retried([row["id"] for row in rows], ready)

        for _ in range(TRIES):
            try:
                return await again(run)
            except asyncpg.UniqueViolationError as exc:
                if exc.constraint_name != "jobs_unique":
                    raise
                # Stored since this one looked: the next look finds it.
        raise Conflict("jobs with the same unique keys are being stored at the same time")

    async def _why_not(self, job_id: UUID, action: str) -> Conflict | NotFound:
        rows = await self._database.fetch(SQL["stored"], [job_id])
        if not rows:
            return NotFound(f"there is no job {job_id}")
        if action == "retry" and rows[0]["status"] in RETRIABLE:
            return Conflict(f"cannot retry the job {job_id}: another unfinished job has the same uniqueKey")
        return Conflict(f"cannot {action} the job {job_id}: it is {rows[0]['status']}")


async def insert_batches(connection: Any, batches: Sequence[NewBatch]) -> None:
    """Store batches, in the caller's transaction; may be repeated."""
    await connection.execute(
        SQL["insert_batches"],
        [batch.id for batch in batches],
        [batch.name for batch in batches],
        [batch.jobs for batch in batches],
        [batch.sequential for batch in batches],
        [batch.stop_on_failure for batch in batches],
        [batch.max_concurrent for batch in batches],
        [batch.callback_url for batch in batches],
    )


def columns(jobs: Sequence[NewJob]) -> tuple[list[Any], ...]:
    """Return the columns that all jobs have, as `insert` takes them."""
    return (
        [job.id for job in jobs],
        [job.type for job in jobs],
        [job.priority.value for job in jobs],
        [job.max_retries for job in jobs],
        [job.execution_timeout_s for job in jobs],
        [job.due_at for job in jobs],
        [job.batch_id for job in jobs],
        [_text_array(job.tags) for job in jobs],
        [job.metadata_json for job in jobs],
        [job.payload_json for job in jobs],
    )


def extra_columns(
    jobs: Sequence[NewJob], parents: Mapping[JobId, Sequence[UUID]], is_followed: Callable[[NewJob], bool]
) -> tuple[list[Any], ...]:
    """Return the columns that few jobs have, as `insert_with_extras` takes them behind the others."""
    extras = [job.extras for job in jobs]
    return (
        [each.retry_policy_json for each in extras],
        [each.expires_at for each in extras],
        [each.queue_timeout_s for each in extras],
        [each.unique_key for each in extras],
        [each.concurrency_key for each in extras],
        [each.concurrency_limit for each in extras],
        [each.callback_url for each in extras],
        [len(parents[job.id]) for job in jobs],
        [is_followed(job) for job in jobs],
        [each.trace for each in extras],
    )


def _text_array(items: Sequence[str]) -> str:
    """Spell a Postgres array: `unnest` would flatten an array of arrays."""
    quoted = (item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return "{" + ",".join(f'"{item}"' for item in quoted) + "}"
