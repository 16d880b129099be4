"""Jobs that failed or timed out for good, in groups that failed alike."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("dead_letters.sql")
LOOKED_AT: Final = 10_000
"""Groups are made of so many of the newest dead jobs."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A group of jobs that failed alike; `error` is the newest one's, as JSON text."""

    fingerprint: str
    type: str
    jobs: int
    first_at: datetime
    last_at: datetime
    sample_id: UUID
    error: str | None


class DeadLetterStore:
    """Reads the groups."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def groups(
        self, *, type_: str | None, start: datetime | None, end: datetime | None, limit: int
    ) -> tuple[list[DeadLetters], bool]:
        """Return the largest groups of what ended in the span, and whether all of that was looked at."""
        rows = await self._database.fetch(SQL["groups"], type_, start, end, LOOKED_AT + 1, limit)
        looked_at = rows[0]["looked_at"] if rows else 0
        groups = [
            DeadLetters(*(row[name] for name in ("fingerprint", "type", "jobs", "first_at", "last_at", "id", "error")))
            for row in rows
        ]
        return groups, looked_at <= LOOKED_AT
