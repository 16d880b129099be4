"""Batches as clients read them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
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
        counts = await self._database.fetch(SQL["counts"], batch_id)
        over = all(row["unfinished"] == 0 for row in counts)
        ends = [row["last_end"] for row in counts if row["last_end"] is not None]
        return Batch(
            **dict(rows[0]),
            by_status={row["status"]: row["jobs"] for row in counts},
            finished_at=max(ends) if ends and over else None,
        )

    async def jobs(self, batch_id: UUID, *, limit: int) -> list[BatchJob]:
        """Return its jobs, at most `limit`."""
        return [BatchJob(*row) for row in await self._database.fetch(SQL["jobs"], batch_id, limit)]
