"""What a Postgres server works: the CPU time of its processes, by whom they work for, and the log that they write."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg
import psutil

CALL_S: Final = 60.0
LOOK_S: Final = 0.5

PROCESSES: Final = """
SELECT pid, CASE WHEN backend_type = 'client backend' THEN application_name ELSE backend_type END AS name
  FROM pg_stat_activity WHERE pid <> pg_backend_pid()"""
BEGIN: Final = "SELECT pg_backend_pid() AS pid, pg_current_wal_insert_lsn()::text AS lsn"
WRITTEN: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), CAST($1::text AS pg_lsn))::float8"


class ServerWork:
    """The work of one server; the session that looks at it does not count. The figures are of the last look."""

    def __init__(self, connection: Any, pid: int, lsn: str) -> None:
        self._connection = connection
        self._pid = pid
        self._lsn = lsn
        self._server = psutil.Process(psutil.Process(pid).ppid())
        self._names: dict[int, str] = {}
        self._began_s: dict[int, float] = {}
        self._used_s: dict[int, float] = {}
        self._total_began_s = self._total_now_s()
        self.total_s = 0.0
        """CPU seconds of all processes, ended ones included."""
        self.wal_bytes = 0.0
        """Written for any database of the server."""

    @classmethod
    async def begin(cls, connection: Any) -> "ServerWork":
        """Count from now on, looking by this connection."""
        row = await connection.fetchrow(BEGIN, timeout=CALL_S)
        work = cls(connection, row["pid"], row["lsn"])
        await work.look()
        work._began_s = dict(work._used_s)
        return work

    async def look(self) -> None:
        """Bring the figures up to now."""
        for row in await self._connection.fetch(PROCESSES, timeout=CALL_S):
            with suppress(psutil.NoSuchProcess):
                self._used_s[row["pid"]] = _cpu_s(psutil.Process(row["pid"]))
                self._names[row["pid"]] = row["name"]
        self.total_s = self._total_now_s() - self._total_began_s
        self.wal_bytes = float(await self._connection.fetchval(WRITTEN, self._lsn, timeout=CALL_S))

    def by_name(self) -> Mapping[str, float]:
        """Return CPU seconds by `application_name` of clients, and by `backend_type` of all other processes.

        What a process used between the last look at it and its end is in `total_s` alone.
        """
        seconds: defaultdict[str, float] = defaultdict(float)
        for pid, used_s in self._used_s.items():
            seconds[self._names[pid]] += used_s - self._began_s.get(pid, 0.0)
        return seconds

    def _total_now_s(self) -> float:
        living_s = sum(_cpu_s(each) for each in self._server.children() if each.pid != self._pid)
        times = self._server.cpu_times()
        return float(_cpu_s(self._server) + times.children_user + times.children_system + living_s)


@asynccontextmanager
async def working(url: str) -> AsyncIterator[ServerWork]:
    """Look again and again at the server of this database until the block ends, and then once more."""
    connection = await asyncpg.connect(url, timeout=CALL_S)
    over = asyncio.Event()
    try:
        work = await ServerWork.begin(connection)

        async def look() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await over.wait()
                await work.look()

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            try:
                yield work
            finally:
                over.set()
    finally:
        await connection.close(timeout=CALL_S)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
