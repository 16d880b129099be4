"""Forgets what is old enough: events by age, finished jobs by age and status, in bounded batches without waiting locks.

Attempts go with their jobs. The event log is cut from its old end only, behind the statistics' cursor, and its floor is
raised in the same transaction: a stream that asks for what is gone is told so. Every write is fenced.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from distriqueue.core.states import Status
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("retention.sql")


@dataclass(frozen=True, slots=True)
class Step:
    """Where the walk over old jobs stands."""

    created_at: datetime
    id: UUID


FIRST: Final = Step(datetime.min.replace(tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Dropped:
    """What one step of the walk did."""

    jobs: int
    next: Step | None
    """Where to go on; None at the end: begin anew later."""


class RetentionStore:
    """Deletes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def drop_events(self, *, older_than_s: float, limit: int, epoch: int) -> int:
        """Drop the oldest events, at most `limit`; return how many."""
        floor, until = (await self._database.fetch(SQL["old_events"], older_than_s, limit))[0]
        if until is None or until <= floor:
            return 0
        async with self._database.transaction(epoch=epoch) as connection:
            if await connection.fetchval(SQL["raise_floor"], until) is None:
                return 0
            done = await connection.execute(SQL["drop_events"], floor, until)
        return int(done.rpartition(" ")[2])

    async def drop_jobs(self, kept_s: Mapping[Status, float], after: Step, *, limit: int, epoch: int) -> Dropped:
        """Look at the next `limit` jobs by creation and drop those that ended longer ago than their status is kept."""
        async with self._database.transaction(epoch=epoch) as connection:
            row = await connection.fetchrow(
                SQL["drop_jobs"],
                after.created_at,
                after.id,
                min(kept_s.values()),
                limit,
                [status.value for status in kept_s],
                list(kept_s.values()),
            )
        more = row["looked"] == limit
        return Dropped(row["dropped"], Step(row["created_at"], row["id"]) if more else None)
