"""What the processes hold in memory after 100,000 jobs, and what a job takes on disk.

One gateway, one orchestrator and one worker with the handlers that ship run 100,000 jobs (quick: 1,000) that add two
numbers, submitted in batches of 100 by 8 connections. All of them end `completed`.

*Resident* is the memory by psutil, shared pages included, of the process of each role (of the largest, were there
more): at the end, and the most that was seen at any time, looking every half second. *Stored* is what all tables with
their indexes and TOAST take after a VACUUM, beyond what they took when they were empty, divided by the jobs: the rows
of jobs, the four events of each, the rows that lists and figures are read from, and on Postgres as the broker its
queue. What a VACUUM leaves free stays counted, since it stays on the disk. *Log* is how much WAL was written from the
first POST to the last end, divided by the jobs.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from benchmarks.load.plan import Plan
from benchmarks.model import Broker, Contender, Metric, Scene, Suite, Target
from benchmarks.systems.meter import resident_mb
from benchmarks.systems.stack import Stack, stack

JOBS: Final = 100_000
QUICK_JOBS: Final = 1_000
BATCH: Final = 100
CALLERS: Final = 8
OVER_S: Final = 600.0
LOOK_S: Final = 0.5
ROLES: Final = ("gateway", "worker", "orchestrator")
MOST_MB: Final = {"gateway": 150.0, "worker": 100.0, "orchestrator": 80.0}
TABLES: Final = ("jobs", "events")

ITEM: Final = '{"type":"calculate","payload":{"operation":"sum","numbers":[@,1]}}'
COMPLETED: Final = "SELECT count(*) FROM jobs WHERE status = 'completed'"
SIZES: Final = """
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
LSN: Final = "SELECT pg_current_wal_insert_lsn()::text"
WRITTEN: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), CAST($1::text AS pg_lsn))::float8"


async def measure(broker: Broker, scene: Scene) -> Mapping[str, float]:
    """Launch on this broker."""
    jobs = QUICK_JOBS if scene.quick else JOBS
    async with stack(scene, broker) as platform:
        before = await _sizes(platform)
        ((lsn,),) = await platform.sql(LSN)
        async with _watched(platform) as most_mb:
            scene.progress(f"{jobs} jobs")
            await platform.submit(Plan(jobs, CALLERS, batch=BATCH), ITEM)
            await platform.until_over(timeout_s=OVER_S)
        resident = {role: resident_mb(_pids(platform, role)) for role in ROLES}
        ((written,),) = await platform.sql(WRITTEN, lsn)
        ((completed,),) = await platform.sql(COMPLETED)
        if completed != jobs:
            raise RuntimeError(f"{completed} of {jobs} jobs completed")
        scene.progress("vacuuming")
        await platform.sql("VACUUM")
        after = await _sizes(platform)
    taken = {name: (size - before.get(name, 0)) / jobs for name, size in after.items()}
    return {
        **resident,
        **{f"{role}_most": max(most_mb[role], resident[role]) for role in ROLES},
        "stored": sum(taken.values()),
        **{f"stored_{table}": taken[table] for table in TABLES},
        "log": written / jobs,
    }


@asynccontextmanager
async def _watched(platform: Stack) -> AsyncIterator[dict[str, float]]:
    """Keep the most resident memory of each role while the block runs."""
    most = dict.fromkeys(ROLES, 0.0)

    async def look() -> None:
        while True:
            for role in ROLES:
                most[role] = max(most[role], resident_mb(_pids(platform, role)))
            await asyncio.sleep(LOOK_S)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(look())
        yield most
        watching.cancel()


def _pids(platform: Stack, role: str) -> list[int]:
    return [pid for name, pid in platform.programs.pids.items() if name.startswith(role)]


async def _sizes(platform: Stack) -> dict[str, int]:
    return {row["name"]: row["bytes"] for row in await platform.sql(SIZES)}


RABBITMQ: Final = "on RabbitMQ"
POSTGRES: Final = "on Postgres"
SUITE: Final = Suite(
    name="memory",
    title="memory after 100,000 jobs, and bytes a job",
    metrics=(
        *(Metric(role, f"{role} resident", "MB", "less") for role in ROLES),
        *(Metric(f"{role}_most", f"{role} at most", "MB", "less") for role in ROLES),
        Metric("stored", "stored a job", "B", "less"),
        *(Metric(f"stored_{table}", f"of it {table}", "B", "less") for table in TABLES),
        Metric("log", "log (WAL) a job", "B", "less"),
    ),
    contenders=(
        Contender(RABBITMQ, partial(measure, "rabbitmq")),
        Contender(POSTGRES, partial(measure, "postgres"), quick=False),
    ),
    targets=tuple(
        Target(f"{role} {name}: ≤ {most:g} MB resident after 100,000 jobs", role, name, "<=", most)
        for role, most in MOST_MB.items()
        for name in (RABBITMQ, POSTGRES)
    ),
)
