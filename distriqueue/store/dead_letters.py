"""Jobs that failed or timed out for good, in groups that failed alike."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final
from uuid import UUID

from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("dead_letters.sql")
LOOKED_AT: Final = 10_000
"""Groups are made of so many of the newest dead jobs."""
LOOKED_THROUGH: Final = 100_000
"""Those of one type are looked for among so many."""


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
        most = LOOKED_AT if type_ is None else LOOKED_THROUGH
        rows = await self._database.fetch(SQL["groups"], type_, start, end, most, limit)
        groups = [DeadLetters(*(row[name] for name in _COLUMNS)) for row in rows if row["fingerprint"] is not None]
        return groups, bool(rows[0]["complete"])


_COLUMNS: Final = tuple(field.name for field in fields(DeadLetters))
