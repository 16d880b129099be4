"""Jobs coming in, being dispatched, cancelled and retried by clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from distriqueue.core.errors import Conflict, NotFound
from distriqueue.core.job import JobId, Priority
from distriqueue.core.messages import Dispatch
from distriqueue.core.states import Status
from distriqueue.store.database import Database, again
from distriqueue.store.statements import load

SQL: Final = load("jobs.sql")


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

    def dispatch(self) -> Dispatch:
        """The first attempt's dispatch."""
        return Dispatch(self.id, 1, self.type, self.priority, self.payload, self.execution_timeout_s)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the commit said of a new job."""

    created_at: datetime
    status: Status


class JobStore:
    """Writes that gateways and duties make to jobs, except workers' reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, jobs: Sequence[NewJob]) -> dict[UUID, Stored]:
        """Store jobs with server-made ids in one commit; may be repeated after a lost answer. StoreUnavailable."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(SQL["insert"], *_columns(jobs))
            if len(rows) < len(jobs):
                rows = await connection.fetch(SQL["stored"], [job.id for job in jobs])
        return {row["id"]: Stored(row["created_at"], Status(row["status"])) for row in rows}

    async def insert_own(self, jobs: Sequence[NewJob]) -> dict[UUID, Stored]:
        """Store jobs with ids that their client chose, all or none; Conflict names an id that exists."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(SQL["insert"], *_columns(jobs))
            if len(rows) < len(jobs):
                taken = {job.id for job in jobs} - {row["id"] for row in rows}
                raise Conflict(f"a job with the id {min(taken)} exists already")
        return {row["id"]: Stored(row["created_at"], Status(row["status"])) for row in rows}

    async def mark_queued(self, dispatches: Sequence[Dispatch], *, epoch: int | None = None) -> int:
        """Mark confirmed dispatches `queued`; those claimed or cancelled meanwhile are left. Returns how many."""
        ordered = sorted(dispatches, key=lambda dispatch: dispatch.job_id)
        ids, attempts = [each.job_id for each in ordered], [each.attempt for each in ordered]

        async def run() -> int:
            if epoch is None:
                return len(await self._database.fetch(SQL["mark_queued"], ids, attempts))
            async with self._database.transaction(epoch=epoch) as connection:
                return len(await connection.fetch(SQL["mark_queued"], ids, attempts))

        return await again(run)

    async def cancel(self, job_id: UUID) -> Status:
        """Cancel a job: `cancelled` at once, or `running` when its worker must first be told; NotFound, Conflict."""
        rows = await self._database.fetch(SQL["cancel"], job_id)
        if not rows:
            raise await self._why_not(job_id, "cancel")
        return Status(rows[0]["status"])

    async def retry(self, job_id: UUID) -> Dispatch:
        """Make a failed, timed out or cancelled job `pending` again, as its next attempt; NotFound, Conflict."""
        rows = await self._database.fetch(SQL["retry"], job_id)
        if not rows:
            raise await self._why_not(job_id, "retry")
        return dispatch_of(rows[0])

    async def _why_not(self, job_id: UUID, action: str) -> Conflict | NotFound:
        rows = await self._database.fetch(SQL["stored"], [job_id])
        if not rows:
            return NotFound(f"there is no job {job_id}")
        return Conflict(f"cannot {action} the job {job_id}: it is {rows[0]['status']}")


def dispatch_of(row: Any) -> Dispatch:
    """Read a row with a dispatch's columns."""
    return Dispatch(
        job_id=JobId(row["id"]),
        attempt=row["attempt"],
        type=row["type"],
        priority=Priority(row["priority"]),
        payload=from_json(row["payload"]),
        execution_timeout_s=row["execution_timeout_s"],
    )


def _columns(jobs: Sequence[NewJob]) -> tuple[list[Any], ...]:
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


def _text_array(items: Sequence[str]) -> str:
    """Spell a Postgres array: `unnest` would flatten an array of arrays."""
    quoted = (item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return "{" + ",".join(f'"{item}"' for item in quoted) + "}"
