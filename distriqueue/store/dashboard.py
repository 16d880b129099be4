"""What only pages for people ask: elections, a job's relatives, the newest batches, routing rules, who is queued."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from distriqueue.core.job import Priority
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("dashboard.sql")
MAX_COUNT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Election:
    """A claim of leadership, and when the next one followed."""

    epoch: int
    node: str
    boot: str
    claimed_at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Relative:
    """A job that another one waits for, or that waits for it."""

    id: UUID
    type: str
    status: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A type whose jobs go through one lane, whatever their priority."""

    type: str
    lane: Priority
    created_at: datetime


class DashboardStore:
    """Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def elections(self, *, limit: int) -> list[Election]:
        """Return the newest claims, the newest first."""
        return [Election(*row) for row in await self._database.fetch(SQL["elections"], limit)]

    async def children(self, job_id: UUID, *, limit: int) -> list[Relative]:
        """Return jobs that wait, or waited, for this one."""
        return [Relative(*row) for row in await self._database.fetch(SQL["children"], job_id, limit)]

    async def relatives(self, job_ids: Sequence[UUID]) -> list[Relative]:
        """Return those of these jobs that are stored, in the order of the ids that were given."""
        rows = {row["id"]: Relative(*row) for row in await self._database.fetch(SQL["relatives"], list(job_ids))}
        return [rows[job_id] for job_id in job_ids if job_id in rows]

    async def batches(self, *, before: UUID | None, limit: int) -> list[UUID]:
        """Return the newest batches, the newest first; with `before`, those that are older than it."""
        return [UUID(bytes=row["id"].bytes) for row in await self._database.fetch(SQL["batches"], before, limit)]

    async def queued(self) -> dict[Priority, tuple[int, bool]]:
        """Return how many jobs of each priority the broker holds, at most MAX_COUNT, and whether that is all."""
        rows = await self._database.fetch(SQL["queued"], [lane.value for lane in Priority], MAX_COUNT + 1)
        return {Priority(row["priority"]): (min(row["queued"], MAX_COUNT), row["queued"] <= MAX_COUNT) for row in rows}

    async def rules(self) -> list[Rule]:
        """Return the routing rules by type."""
        rows = await self._database.fetch(SQL["rules"])
        return [Rule(row["type"], Priority(row["lane"]), row["created_at"]) for row in rows]
