"""How Postgres itself fares, as far as a user of one database may know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("server.sql")
TABLES: Final = ("attempts", "events", "jobs")
"""Those that grow with the jobs."""


@dataclass(frozen=True, slots=True)
class TableFigures:
    """One table with its indexes; numbers of rows are estimates."""

    name: str
    size_bytes: int
    live_rows: int
    dead_rows: int


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """The database we use; what only grows counts since Postgres's statistics were reset."""

    commits: int
    rollbacks: int
    deadlocks: int
    blocks_read: int
    """From outside its own cache."""
    blocks_hit: int
    temp_bytes: int
    size_bytes: int
    connections: int
    max_connections: int
    oldest_transaction_s: float
    tables: Sequence[TableFigures]


class ServerStore:
    """Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> ServerFigures:
        """Return the figures as of now; StoreUnavailable."""
        row = (await self._database.fetch(SQL["database"]))[0]
        tables = await self._database.fetch(SQL["tables"], list(TABLES))
        return ServerFigures(**dict(row), tables=[TableFigures(*table) for table in tables])
