"""Databases with many jobs in them: filled once per run, and copied file by file for each launch that wants one."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from pydantic_core import from_json

from benchmarks.model import Scene
from benchmarks.table import fill
from distriqueue.core.job import JobId, Priority
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import Broker
from distriqueue.settings import StoreSettings
from distriqueue.store import schema
from distriqueue.store.database import Database
from distriqueue.store.statistics import StatisticsStore
from tests.acceptance.cluster import until

CALL_S: Final = 10.0
CONNECT_S: Final = 30.0
FILL_S: Final = 900.0
PUBLISH: Final = 1_000
PUBLISHING: Final = 4
ROLL: Final = 20_000
TYPE: Final = "backlog"
TIMEOUT_S: Final = 300.0

# `benchmarks.table` leaves some jobs for the orchestrators to reap and to dispatch. No launch is to do that first.
SETTLE: Final = """
UPDATE jobs SET status = 'pending', worker_id = NULL, started_at = NULL, queued_at = NULL, attempt = attempt + 1
 WHERE status = 'running';
UPDATE jobs SET status = 'queued', queued_at = now() WHERE status = 'pending'"""
# Figures by the hour are of the last day, and stay when jobs go: a small table has a whole day of them, too.
DAY: Final = """
INSERT INTO job_counts_hourly
       (hour, type, priority, submitted, started, completed, failed, cancelled, retried, queue_ms, run_ms)
SELECT day.hour, type, priority, submitted, started, completed, failed, cancelled, retried, queue_ms, run_ms
  FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '1 d', now(), interval '1 h') AS day (hour),
       (SELECT * FROM job_counts_hourly WHERE hour = (
               SELECT hour FROM job_counts_hourly WHERE isfinite(hour)
                GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)) AS one
    ON CONFLICT DO NOTHING;
INSERT INTO worker_counts_hourly (hour, worker_id, started, completed, failed, queue_ms, run_ms)
SELECT day.hour, worker_id, started, completed, failed, queue_ms, run_ms
  FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '1 d', now(), interval '1 h') AS day (hour),
       (SELECT * FROM worker_counts_hourly WHERE hour = (
               SELECT hour FROM worker_counts_hourly GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)) AS one
    ON CONFLICT DO NOTHING"""
# Through the triggers, as if they had been submitted and confirmed.
BACKLOG: Final = f"""
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, payload)
SELECT new_job_id(), '{TYPE}', 'MEDIUM', 'pending', 3, {TIMEOUT_S}, json_build_object('n', n, 'text', repeat('x', 100))
  FROM generate_series(1, {{jobs}}) AS n;
UPDATE jobs SET status = 'queued', queued_at = now() WHERE status = 'pending'"""
OLDEST: Final = f"SELECT id, payload FROM jobs WHERE status = 'queued' AND type = '{TYPE}' ORDER BY id LIMIT $1"

# One that was left half-filled is no template.
IS_THERE: Final = "SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate"


@dataclass(frozen=True, slots=True)
class Filling:
    """So many jobs of a system in use, and so many more that were submitted at last and wait to be run."""

    stored: int
    queued: int = 0

    @property
    def template(self) -> str:
        """The name of the database that launches get copies of."""
        return f"filled_{self.stored}_{self.queued}"


async def filled(scene: Scene, filling: Filling) -> str:
    """Return the URL of the launch's database, with the jobs in it, its statistics fresh and all of it on disk.

    The first launch of a run that asks for a filling makes it, which for a million jobs takes minutes.
    """
    url = await scene.database()
    server, name = url.rpartition("/")[0], urlsplit(url).path.lstrip("/")
    connection = await asyncpg.connect(f"{server}/postgres", timeout=CALL_S)
    try:
        if not await connection.fetchval(IS_THERE, filling.template, timeout=CALL_S):
            scene.progress(f"fills a database with {filling.stored + filling.queued} jobs, once")
            await connection.execute(f"DROP DATABASE IF EXISTS {filling.template} WITH (FORCE)", timeout=FILL_S)
            await connection.execute(f"CREATE DATABASE {filling.template}", timeout=FILL_S)
            await _fill(f"{server}/{filling.template}", filling)
            await connection.execute(f"ALTER DATABASE {filling.template} IS_TEMPLATE true", timeout=CALL_S)
        scene.progress(f"copies a database with {filling.stored + filling.queued} jobs")
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)", timeout=FILL_S)
        # Not page by page through the log, as is the default: that would be the next checkpoint's burden.
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE {filling.template} STRATEGY file_copy", timeout=FILL_S
        )
        await connection.execute("CHECKPOINT", timeout=FILL_S)
    finally:
        await connection.close(timeout=CALL_S)
    return url


async def publish_backlog(database_url: str, broker: Broker, jobs: int) -> None:
    """Give the broker the dispatches of the queued jobs, each confirmed; RuntimeError when one is not."""
    connection = await asyncpg.connect(database_url, timeout=CALL_S)
    try:
        rows = await connection.fetch(OLDEST, jobs, timeout=FILL_S)
    finally:
        await connection.close(timeout=CALL_S)

    async def is_connected() -> bool:
        return broker.connected

    await until(is_connected, "a connection to the broker", timeout_s=CONNECT_S)
    waiting = iter(range(0, len(rows), PUBLISH))

    async def publish() -> None:
        for first in waiting:
            held = await broker.publish([_dispatch(row) for row in rows[first : first + PUBLISH]])
            if not all(held):
                raise RuntimeError(f"the broker confirmed {sum(held)} of {len(held)} dispatches")

    async with asyncio.TaskGroup() as group:
        for _ in range(PUBLISHING):
            group.create_task(publish())


async def _fill(url: str, filling: Filling) -> None:
    await schema.migrate(url)
    connection = await asyncpg.connect(url, timeout=CALL_S)
    try:
        await fill(connection, filling.stored)
        await connection.execute(DAY, timeout=FILL_S)
        await connection.execute(SETTLE, timeout=FILL_S)
        if filling.queued:
            await connection.execute(BACKLOG.format(jobs=filling.queued), timeout=FILL_S)
        await _roll_up(url)
        await connection.execute("VACUUM ANALYZE", timeout=FILL_S)
    finally:
        await connection.close(timeout=CALL_S)


async def _roll_up(url: str) -> None:
    """Sum the log up, as the leader's statistics duty would have by now; nobody has led yet, so the epoch is 0."""
    settings = StoreSettings.load(database_url=url, store_timeout=FILL_S, store_pool_size=1)
    async with Database.open(settings, application="benchmark") as database:
        figures = StatisticsStore(database)
        while (ceiling := await figures.ceiling()) is not None:
            await figures.roll_up(ceiling.seq, limit=ROLL, epoch=0)


def _dispatch(row: Any) -> Dispatch:
    return Dispatch(JobId(row["id"]), 1, TYPE, Priority.MEDIUM, from_json(row["payload"]), TIMEOUT_S)
