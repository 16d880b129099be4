"""Forgets what is old enough: events by age, finished jobs by age and status, then batches; never much at once.

Attempts go with their jobs. The event log is cut from its old end only, behind the statistics' cursor, and its floor is
raised in the same transaction: a stream that asks for what is gone is told so. Every write is fenced.

With an archive, a job is deleted only once its line is on disk, in the transaction that locks, reads and deletes it.
If the commit then fails, the job stays and is archived again: a line may come twice, and none is ever missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

from distriqueue.core.states import Status
from distriqueue.store import export
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("retention.sql")
ARCHIVE_BYTES: Final = 8 * 2**20
"""A transaction archives so much and perhaps a page more: it is over before Postgres ends it as idle."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where the walk over old jobs stands."""

    created_at: datetime
    id: UUID


NO_ID: Final = UUID(int=0)
"""Before all others."""
FIRST: Final = Step(datetime.min.replace(tzinfo=UTC), NO_ID)


@dataclass(frozen=True, slots=True)
class Dropped:
    """What one step of the walk did."""

    jobs: int
    next: Step | None
    """Where to go on; None at the end: begin anew later."""


@dataclass(frozen=True, slots=True)
class DroppedBatches:
    """What one step of the walk over batches did."""

    batches: int
    next: UUID | None


class Archive(Protocol):
    """Where jobs go before they are deleted."""

    async def append(self, lines: Sequence[bytes], *, epoch: int) -> None:
        """Make lines durable, within less than the 5 s that a transaction may idle; raises Unavailable."""


class RetentionStore:
    """Deletes, and archives before it when there is an archive."""

    def __init__(
        self, database: Database, archive: Archive | None = None, *, archive_bytes: int = ARCHIVE_BYTES
    ) -> None:
        self._database = database
        self._archive = archive
        self._archive_bytes = archive_bytes

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

    async def drop_batches(self, after: UUID, *, older_than_s: float, limit: int, epoch: int) -> DroppedBatches:
        """Look at the next `limit` batches by id and drop those of which no job is left, nor a webhook."""
        async with self._database.transaction(epoch=epoch) as connection:
            row = await connection.fetchrow(SQL["drop_batches"], after, older_than_s, limit)
        return DroppedBatches(row["dropped"], row["next"])

    async def drop_jobs(self, kept_s: Mapping[Status, float], after: Step, *, limit: int, epoch: int) -> Dropped:
        """Look at the next `limit` jobs by creation and drop those that ended longer ago than their status is kept."""
        async with self._database.transaction(epoch=epoch) as connection:
            row = await connection.fetchrow(
                SQL["due_jobs"],
                after.created_at,
                after.id,
                min(kept_s.values()),
                limit,
                [status.value for status in kept_s],
                list(kept_s.values()),
            )
            free = [each["id"] for each in await connection.fetch(SQL["free_jobs"], row["due"])] if row["due"] else []
            gone = free if self._archive is None else await self._archived(connection, self._archive, free, epoch)
            if gone:
                await connection.execute(SQL["drop_jobs"], gone)
        if len(gone) < len(free):
            return Dropped(len(gone), after)
        more = row["looked"] == limit
        return Dropped(len(gone), Step(row["created_at"], row["id"]) if more else None)

    async def _archived(self, connection: Any, archive: Archive, ids: Sequence[UUID], epoch: int) -> list[UUID]:
        """Archive the first of these jobs, as many as one transaction may, and return which."""
        lines: list[export.Line] = []
        for page in await export.pages(connection, ids) if ids else ():
            lines += await export.lines(connection, page)
            if sum(len(line.text) for line in lines) >= self._archive_bytes:
                break
        if lines:
            await archive.append([line.text for line in lines], epoch=epoch)
        return [line.id for line in lines]
