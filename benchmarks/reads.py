"""What reads cost as the jobs table grows: each through the store and over HTTP, at two sizes in turns, with its plans.

python -m benchmarks.reads --jobs 10000,1000000 --plans plans.txt
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

from benchmarks.table import fill
from distriqueue.store import schema
from gateway.api.query import JobListQuery, read_cursor
from tests.integration.gateway import RunningGateway, running_gateway
from tests.servers.postgres import PostgresServer

CALLS: Final = 200
WARM_UP: Final = 20
ROUND: Final = 20
"""So many calls at one size, then at the other, so that both see the same weather."""

Call = Callable[[], Awaitable[object]]


@dataclass
class Times:
    """How long calls took, in ms."""

    taken_ms: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.taken_ms)

    @property
    def p95(self) -> float:
        """Of twenty calls, nineteen are no slower."""
        return statistics.quantiles(self.taken_ms, n=20)[-1]


@dataclass(frozen=True)
class Side:
    """One size: a gateway over so many jobs, and what to ask it."""

    jobs: int
    gateway: RunningGateway
    paths: Mapping[str, str]

    def http(self, name: str) -> Call:
        """Return the call over HTTP."""

        async def call() -> None:
            answer = await self.gateway.client.get(self.paths[name])
            assert answer.status_code == 200, answer.text

        return call

    def store(self, name: str) -> Call | None:
        """Return the page and its count through the store; None for what is no list."""
        split = urlsplit(self.paths[name])
        if split.path != "/api/jobs":
            return None
        asked: dict[str, Any] = {}
        for key, values in parse_qs(split.query).items():
            asked[key] = values if key in ("status", "type", "tag", "priority") else values[0]
        query, reader = JobListQuery.model_validate(asked), self.gateway.parts.reader
        after = read_cursor(query.cursor) if query.cursor else None

        async def call() -> None:
            await reader.page(query.filter(), size=query.size, after=after)
            await reader.count(query.filter())

        return call


@asynccontextmanager
async def opened(server: PostgresServer, jobs: int) -> AsyncIterator[Side]:
    """Fill a database of its own, and open a gateway over it."""
    started = time.perf_counter()
    name = await server.create_database()
    await schema.migrate(server.url(name))
    connection = await asyncpg.connect(server.url(name))
    try:
        await fill(connection, jobs)
    finally:
        await connection.close()
    print(f"{jobs} jobs are there after {time.perf_counter() - started:.0f} s", flush=True)
    async with running_gateway(server.url(name)) as gateway:
        yield Side(jobs, gateway, await paths(gateway))
    await server.drop_database(name)


async def paths(gateway: RunningGateway) -> dict[str, str]:
    """Return each call by its name, with ids and cursors of this table."""
    client, database, jobs = gateway.client, gateway.parts.database, "/api/jobs"

    async def one(status: str) -> str:
        return str((await database.fetch("SELECT id FROM jobs WHERE status = $1 LIMIT 1", status))[0][0])

    first = (await client.get(jobs)).json()
    at = (await database.fetch("SELECT created_at FROM jobs ORDER BY created_at OFFSET 2000 LIMIT 1"))[0][0]
    old = at.isoformat().replace("+00:00", "Z")
    far = (await client.get(f"{jobs}?createdTo={old}")).json()["nextCursor"]
    batch = (await database.fetch("SELECT id FROM batches LIMIT 1"))[0][0]
    queued, blocked, completed, failed = [await one(status) for status in ("queued", "blocked", "completed", "failed")]
    return {
        "first page": jobs,
        "page by cursor": f"{jobs}?cursor={first['nextCursor']}",
        "page by a far cursor": f"{jobs}?cursor={far}",
        "status, common": f"{jobs}?status=completed",
        "status, rare": f"{jobs}?status=timeout",
        "status, only old ones": f"{jobs}?status=cancelled",
        "status, none": f"{jobs}?status=retrying",
        "status, pending": f"{jobs}?status=pending",
        "status, several": f"{jobs}?status=failed,timeout,cancelled",
        "type, common": f"{jobs}?type=calculate",
        "type, one old": f"{jobs}?type=type-of-old",
        "type, none": f"{jobs}?type=nothing",
        "type, several": f"{jobs}?type=mail,report,type-of-old",
        "priority, common": f"{jobs}?priority=HIGH",
        "priority, none": f"{jobs}?priority=CRITICAL",
        "tag, common": f"{jobs}?tag=all",
        "tag, rare": f"{jobs}?tag=rare",
        "tag, only old ones": f"{jobs}?tag=old",
        "tag, none": f"{jobs}?tag=nothing",
        "tags, two": f"{jobs}?tag=all&tag=rare",
        "worker, common": f"{jobs}?worker=worker-1",
        "worker, one old": f"{jobs}?worker=worker-of-old",
        "worker, none": f"{jobs}?worker=nobody",
        "batch": f"{jobs}?batch={batch}",
        "schedule": f"{jobs}?schedule=nightly",
        "schedule, none": f"{jobs}?schedule=nothing",
        "created long ago": f"{jobs}?createdTo={old}&createdFrom=2000-01-01T00:00:00Z",
        "created lately": f"{jobs}?createdFrom={first['content'][-1]['createdAt']}",
        "q, in types": f"{jobs}?q=calc",
        "q, in errors": f"{jobs}?q=no+1",
        "q, an id's start": f"{jobs}?q={completed[:13]}",
        "q, an id": f"{jobs}?q={completed}",
        "q, nothing": f"{jobs}?q=zzzz",
        "status and type": f"{jobs}?status=failed&type=transform",
        "status and type, common": f"{jobs}?status=completed&type=transform",
        "status and type, none": f"{jobs}?status=timeout&type=type-of-old",
        "worker and status": f"{jobs}?worker=worker-1&status=timeout",
        "statistics": f"{jobs}/statistics",
        "statistics of a day": f"{jobs}/statistics?from={old[:10]}T00:00:00Z&to={old[:10]}T23:00:00Z",
        "explain, queued": f"{jobs}/{queued}/explain",
        "explain, blocked": f"{jobs}/{blocked}/explain",
        "explain, completed": f"{jobs}/{completed}/explain",
        "explain, failed": f"{jobs}/{failed}/explain",
        "a job": f"{jobs}/{completed}",
        "a batch": f"/api/batches/{batch}",
        "queues": "/api/queues",
        "dead letters": "/api/dead-letters",
    }


async def in_turns(calls: Sequence[Call]) -> list[Times]:
    """Time each call so often, in turns."""
    times = [Times() for _ in calls]
    for n in range(-WARM_UP, CALLS, ROUND):
        for call, measured in zip(calls, times, strict=True):
            for _ in range(ROUND):
                started = time.perf_counter()
                await call()
                if n >= 0:
                    measured.taken_ms.append((time.perf_counter() - started) * 1000)
    return times


class Plans:
    """Notes what calls ask Postgres, and explains it."""

    def __init__(self, side: Side) -> None:
        self._side = side

    async def of(self, name: str) -> str:
        """Return the plans of one call."""
        database = self._side.gateway.parts.database
        fetch = database.fetch
        asked: dict[str, tuple[object, ...]] = {}

        async def noted(statement: str, *arguments: object, steady: bool = False) -> list[Any]:
            asked[statement] = arguments
            return await fetch(statement, *arguments, steady=steady)

        database.fetch = noted  # type: ignore[method-assign]
        try:
            await self._side.http(name)()
        finally:
            database.fetch = fetch  # type: ignore[method-assign]
        texts = []
        for statement, arguments in asked.items():
            if statement.startswith("EXPLAIN") or "api_keys" in statement:
                continue
            rows = await fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *arguments)
            texts.append(statement + "\n\n" + "\n".join(row[0] for row in rows))
        return f"==== {name}, {self._side.jobs} jobs: {self._side.paths[name]}\n\n" + "\n\n".join(texts)


async def run(sizes: Sequence[int], only: str) -> list[str]:
    """Measure all, print a table, and return the plans."""
    server = PostgresServer()
    server.start()
    try:
        async with AsyncExitStack() as stack:
            sides = [await stack.enter_async_context(opened(server, size)) for size in sizes]
            names = [name for name in sides[0].paths if only in name]
            print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            columns = "".join(f"{size:>10} p50    p95" for size in sizes) + "  ratio"
            print(f"{'ms':24}   over HTTP{columns}   through the store{columns}")
            for name in names:
                over_http = await in_turns([side.http(name) for side in sides])
                calls = [call for side in sides if (call := side.store(name)) is not None]
                print(f"{name:24}   {_row(over_http)}   {_row(await in_turns(calls)) if calls else ''}", flush=True)
            print(f"load {os.getloadavg()[0]:.1f}")
            return [await Plans(side).of(name) for name in names for side in sides]
    finally:
        server.close()


def _row(times: Sequence[Times]) -> str:
    ratio = times[-1].p95 / times[0].p95
    return "".join(f"{each.p50:14.2f} {each.p95:6.2f}" for each in times) + f"  {ratio:5.2f}{'!' if ratio > 2 else ' '}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reads", description=__doc__)
    parser.add_argument("--jobs", default="10000,1000000", help="sizes to compare")
    parser.add_argument("--plans", type=Path, help="where to write the plans of all queries")
    parser.add_argument("--only", default="", help="calls whose names hold this")
    arguments = parser.parse_args()
    plans = asyncio.run(run([int(size) for size in arguments.jobs.split(",")], arguments.only))
    if arguments.plans is not None:
        arguments.plans.write_text("\n\n".join(plans))


if __name__ == "__main__":
    main()
