"""What the four steps of a job cost the store, also under other indexes: insert, mark queued, claim, finish, by 200.

python -m benchmarks.writes --jobs 20000 --stored 0,1000000 --rounds 5
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

import asyncpg
import psutil
from pydantic_core import to_json

from benchmarks.table import fill
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Report
from distriqueue.settings import StoreSettings
from distriqueue.store import schema
from distriqueue.store.database import Database
from distriqueue.store.jobs import JobStore, NewJob
from distriqueue.store.reports import ReportStore
from tests.servers.postgres import PostgresServer

BATCH: Final = 200

NEWEST: Final = "CREATE INDEX jobs_newest ON jobs (created_at DESC, id DESC);"
UNLISTED: Final = """
DROP TRIGGER jobs_listed ON jobs; DROP TRIGGER jobs_unlisted ON jobs; DROP TRIGGER jobs_relisted ON jobs;
"""
VARIANTS: Final = {
    "before 0002_reads": f"{UNLISTED}{NEWEST} DROP INDEX jobs_status; DROP INDEX jobs_worker;",
    "job_listing, job_tags alone": "DROP INDEX jobs_status; DROP INDEX jobs_worker;",
    "and jobs_worker": "DROP INDEX jobs_status;",
    "and jobs_status": "",
    "all of it on jobs instead": f"""{UNLISTED}{NEWEST}
        CREATE INDEX jobs_type ON jobs (type, created_at, id);
        CREATE INDEX jobs_priority ON jobs (priority, created_at, id);
        CREATE INDEX jobs_tags ON jobs USING gin (tags) WHERE tags <> '{{}}';""",
}


@dataclass(frozen=True)
class Cost:
    """What a job costs."""

    jobs_per_s: float
    cpu_us: float
    """Of Postgres's process."""
    wal_bytes: float


async def measure(url: str, jobs: int) -> Cost:
    """Take so many jobs through their steps."""
    settings = StoreSettings.load(database_url=url, store_timeout=60.0, store_pool_size=1)
    async with Database.open(settings, application="benchmark") as database:
        store, reports = JobStore(database), ReportStore(database)
        pid, lsn = (await database.fetch("SELECT pg_backend_pid(), pg_current_wal_insert_lsn()::text"))[0]
        server = psutil.Process(pid)
        made = [_job(n) for n in range(jobs)]
        cpu_s, started = _cpu_s(server), time.perf_counter()
        for first in range(0, jobs, BATCH):
            some = made[first : first + BATCH]
            worker = f"w{first // BATCH % 20}"
            await store.insert(some)
            await store.mark_queued([job.dispatch() for job in some])
            await reports.apply([_report(job, worker, status="running") for job in some])
            await reports.apply([_report(job, worker, status="completed", result={"sum": 1}) for job in some])
        took_s, cpu_s = time.perf_counter() - started, _cpu_s(server) - cpu_s
        wal = await database.fetch(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), CAST($1::text AS pg_lsn))::float8", lsn
        )
    return Cost(jobs / took_s, cpu_s / jobs * 1e6, wal[0][0] / jobs)


async def run(jobs: int, stored: Sequence[int], rounds: int) -> None:
    """Measure every variant in turns, and print the medians."""
    server = PostgresServer()
    server.start()
    try:
        for size in stored:
            template = await _filled(server, size)
            names = {}
            for variant, ddl in VARIANTS.items():
                names[variant] = await server.create_database(template=template)
                await _execute(server.url(names[variant]), f"{ddl} VACUUM ANALYZE".split(";"))
            costs: dict[str, list[Cost]] = {variant: [] for variant in names}
            for _ in range(rounds):
                for variant, name in names.items():
                    costs[variant].append(await measure(server.url(name), jobs))
            _show(size, costs)
            for name in (*names.values(), template):
                await server.drop_database(name)
    finally:
        server.close()


def _show(size: int, costs: dict[str, list[Cost]]) -> None:
    print(f"{size} jobs stored; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    first: Cost | None = None
    for variant, several in costs.items():
        median = Cost(*(statistics.median(column) for column in zip(*map(astuple, several), strict=True)))
        first = first or median
        print(
            f"  {variant:28} {median.jobs_per_s:7.0f} jobs/s ({median.jobs_per_s / first.jobs_per_s:.2f})"
            f"  {median.cpu_us:5.0f} us CPU ({median.cpu_us / first.cpu_us:.2f})"
            f"  {median.wal_bytes:6.0f} B WAL ({median.wal_bytes / first.wal_bytes:.2f})",
            flush=True,
        )


async def _filled(server: PostgresServer, jobs: int) -> str:
    name = await server.create_database()
    await schema.migrate(server.url(name))
    if jobs:
        connection = await asyncpg.connect(server.url(name))
        try:
            await fill(connection, jobs)
        finally:
            await connection.close()
    return name


async def _execute(url: str, statements: Sequence[str]) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in filter(str.strip, statements):
            await connection.execute(statement, timeout=600)
    finally:
        await connection.close()


def _job(n: int) -> NewJob:
    payload = {"n": n, "text": "x" * 100}
    return NewJob(
        id=new_job_id(),
        type=("calculate", "transform", "validate", "mail", "report")[n % 5],
        priority=list(Priority)[1 + n % 3],
        payload=payload,
        payload_json=to_json(payload).decode(),
        max_retries=3,
        execution_timeout_s=300.0,
        tags=("all",) if n % 4 == 0 else (),
    )


def _report(job: NewJob, worker: str, **fields: object) -> Report:
    return Report.model_validate({"job_id": job.id, "attempt": 1, "worker_id": worker} | fields)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writes", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of one round")
    parser.add_argument("--stored", default="0,1000000", help="jobs that are there before")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.jobs, [int(size) for size in arguments.stored.split(",")], arguments.rounds))


if __name__ == "__main__":
    main()
