"""The stack a user would write without a job platform: FastAPI, a jobs table, Celery on RabbitMQ.

A POST inserts a row and sends a Celery task; the task sets the row to running, adds, and sets it to completed. What it
lacks of ours: claims (a task that runs twice does its work twice), retries that are seen; and row and message are
written one after the other, so that a crash between them loses the job.

*Tuned* (`tuned`): asyncpg with a pool, the task sent from a thread of Starlette's pool, for the event loop to go on;
quorum queue, publisher confirms, late acknowledgement; the worker a pool of threads, each with a raw psycopg2
connection in autocommit; Celery's rate limits, events, gossip, mingling and log lines off. uvicorn with uvloop and
httptools.

*As first written* (`plain`): sync routes, SQLAlchemy's ORM in both programs, `task.delay`, and all of Celery, the queue
and uvicorn as it comes: a classic queue, no confirms, acknowledged before it runs. Only the session is opened in the
route: as a dependency with `yield`, 64 connections at once bring it to a standstill, because what would give the
database's connections back waits for the threads that wait for them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

import httpx

from benchmarks.load.http import Endpoint
from benchmarks.model import Guarantees, Scene
from benchmarks.peers.peer import DATABASE, RABBITMQ
from benchmarks.systems.marks import VARIABLE, Marks
from benchmarks.systems.programs import Programs
from benchmarks.systems.system import Stored, System
from distriqueue.local.ports import free_block

Variant = Literal["tuned", "plain"]

TUNED_THREADS: Final = 8
GUARANTEES: Final = {
    "tuned": Guarantees(
        True, True, True, True, "row and message are two writes: a crash between them loses the job; no claims"
    ),
    "plain": Guarantees(
        False, False, True, True, "classic queue, no confirms, acknowledged before it runs: a crash loses jobs"
    ),
}
WORKERS: Final = {
    "tuned": (
        *("--pool", "threads", "--concurrency", str(TUNED_THREADS), "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ),
    "plain": ("--loglevel", "INFO"),
}


@asynccontextmanager
async def opened(scene: Scene, variant: Variant) -> AsyncIterator[System]:
    """Start it."""
    scene.progress("starting")
    marks = Marks(scene.home / "marks")
    database_url = await scene.database()
    env = {VARIABLE: str(marks.path), DATABASE: database_url, RABBITMQ: await scene.rabbitmq()}
    port, package = free_block(), f"benchmarks.peers.stack.{variant}"
    url = f"http://127.0.0.1:{port}/jobs"

    def serves(_log: str) -> bool:
        try:
            return httpx.get(url, timeout=5, trust_env=False).status_code == 405
        except httpx.TransportError:
            return False

    async with Programs(scene.home, env) as programs:
        await programs.call("benchmarks.peers.stack.table")
        await programs.start("worker", "celery", "-A", f"{package}.worker", "worker", *WORKERS[variant])
        logs = ("--no-access-log", "--log-level", "warning") if variant == "tuned" else ()
        await programs.start("web", "uvicorn", f"{package}.web:app", "--port", str(port), *logs, ready=serves)
        yield System(
            programs,
            marks,
            Endpoint([url], '{"a":@,"b":1}'),
            Stored(
                database_url,
                "SELECT count(*) FROM jobs WHERE status = 'completed'",
                "SELECT a, finished_at FROM jobs WHERE status = 'completed'",
            ),
        )
