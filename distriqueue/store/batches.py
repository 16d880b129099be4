"""Batches as clients read them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from distriqueue.core.errors import NotFound
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("batches.sql")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch and how far it is; its jobs are in the order of the request that made it."""

    id: UUID
    name: str | None
    jobs: int
    sequential: bool
    stop_on_failure: bool
    max_concurrent: int | None
    callback_url: str | None
    stopped: bool
    created_at: datetime
    by_status: dict[str, int]
    finished_at: datetime | None
    """When the last of its jobs ended; None while one has not."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One job of a batch, briefly."""

    id: UUID
    type: str
    status: str
    progress: float | None


class BatchReader:
    """Reads batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, batch_id: UUID) -> Batch:
        """Return one batch; NotFound."""
        rows = await self._database.fetch(SQL["batch"], batch_id)
        if not rows:
            raise NotFound(f"there is no batch {batch_id}")
        return (await self._counted(rows))[0]

    async def page(self, *, before: UUID | None = None, limit: int) -> list[Batch]:
        """Return batches, the newest first; with `before`, those that are older than it."""
        return await self._counted(await self._database.fetch(SQL["page"], before, limit))

    async def jobs(self, batch_id: UUID, *, limit: int) -> list[BatchJob]:
        """Return its jobs, at most `limit`."""
        return [BatchJob(*row) for row in await self._database.fetch(SQL["jobs"], batch_id, limit)]

    async def _counted(self, rows: Sequence[Any]) -> list[Batch]:
        """Add to batches' rows how far their jobs are, in one statement for all."""
        counts: dict[UUID, list[Any]] = defaultdict(list)
        for row in await self._database.fetch(SQL["counts"], [row["id"] for row in rows]) if rows else ():
            counts[row["batch_id"]].append(row)
        return [_batch(row, counts[row["id"]]) for row in rows]


def _batch(row: Any, counts: Sequence[Any]) -> Batch:
    over = all(each["unfinished"] == 0 for each in counts)
    ends = [each["last_end"] for each in counts if each["last_end"] is not None]
    return Batch(
        **dict(row),
        by_status={each["status"]: each["jobs"] for each in counts},
        finished_at=max(ends) if ends and over else None,
    )
