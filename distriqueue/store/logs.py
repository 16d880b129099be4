"""Lines of jobs' logs: kept with the reports that bring them, read by job, gone with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json

from distriqueue.core.messages import Report
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("logs.sql")
NO_ATTEMPT: Final = 2**31 - 1
"""Above all others."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line; `at` is by the clock of its worker, `fields` JSON text as stored."""

    attempt: int
    n: int
    """From 1 on, in its attempt."""
    at: datetime
    level: str
    message: str
    fields: str | None


class LogReader:
    """Reads the lines of a job's log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_job(
        self, job_id: UUID, limit: int, *, attempt: int | None = None, after: tuple[int, int] = (0, 0)
    ) -> list[LogLine]:
        """Return lines of all attempts, or of one, oldest first, from behind `after` (attempt, n) on."""
        if attempt is not None and after[0] < attempt:
            after = (attempt, 0)
        rows = await self._database.fetch(SQL["of_job"], job_id, *after, attempt or NO_ATTEMPT, limit)
        return [LogLine(*row) for row in rows]


async def keep_logs(connection: Any, reports: Iterable[Report]) -> None:
    """Keep what accepted reports bring, in their transaction; a line that is there already stays as it is."""
    lines = [(report, line) for report in reports for line in report.logs]
    await connection.execute(
        SQL["keep"],
        [report.job_id for report, _ in lines],
        [report.attempt for report, _ in lines],
        [line.n for _, line in lines],
        [line.at for _, line in lines],
        [line.level for _, line in lines],
        [line.message.replace("\0", "\ufffd") for _, line in lines],
        [None if line.fields is None else to_json(line.fields).decode() for _, line in lines],
    )
