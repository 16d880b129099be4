"""DistriQueue with this and that changed: more workers, other handlers, other settings, jobs that are there already."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import asyncpg
import httpx

from benchmarks.load.http import Endpoint
from benchmarks.load.plan import Plan, Submitted
from benchmarks.model import Broker, Scene
from benchmarks.systems.programs import ProgramFailed, Programs
from distriqueue.local.ports import free_block
from distriqueue.store import schema

CAPACITY: Final = 50
CALL_S: Final = 60.0
LOOK_S: Final = 0.25
OVER: Final = "SELECT NOT EXISTS (SELECT FROM jobs WHERE finished_at IS NULL)"


@dataclass(frozen=True, slots=True)
class Stack:
    """A gateway and an orchestrator that run, and as many workers as were asked for."""

    programs: Programs
    database_url: str
    broker_url: str
    url: str
    """Of the gateway."""
    urls: tuple[str, ...]
    """Of gateway and orchestrator."""
    capacity: int
    handlers: tuple[str, ...]
    worker_env: Mapping[str, str]
    workers: list[str] = field(default_factory=list)
    """Names of the workers that were started."""

    async def start_worker(self) -> str:
        """Start one more and wait until it takes jobs; return its name."""
        name = f"worker{len(self.workers) + 1}"
        self.workers.append(name)
        own = {"DISTRIQUEUE_WORKER_ID": name, "DISTRIQUEUE_WORKER_CAPACITY": str(self.capacity)}
        env = {**self.worker_env, **own}
        await self.programs.start(name, "workers", *self.handlers, ready=_has_started, env=env)
        return name

    def kill(self, name: str) -> float:
        """SIGKILL a program; return when that was, by the monotonic clock."""
        os.kill(self.programs.pids[name], signal.SIGKILL)
        return time.monotonic()

    async def submit(self, plan: Plan, item: str) -> Submitted:
        """Post jobs by the load generator, single ones or batches; `@` in the item is a job's number."""
        jobs = f"{self.url}/api/jobs"
        endpoint = Endpoint([jobs], item) if plan.batch == 1 else Endpoint([f"{jobs}/batch"], item, '{"jobs":[', "]}")
        told = plan.encode(endpoint=asdict(endpoint))
        return Submitted.decode(
            await self.programs.call("benchmarks.load.http", stdin=told, timeout_s=plan.timeout_s + 30)
        )

    async def sql(self, statement: str, *arguments: object) -> list[Any]:
        """Ask Postgres, on a connection of its own."""
        connection = await asyncpg.connect(self.database_url, timeout=CALL_S)
        try:
            return list(await connection.fetch(statement, *arguments, timeout=CALL_S))
        finally:
            await connection.close(timeout=CALL_S)

    async def until(self, over: str, what: str, *, timeout_s: float, every_s: float = LOOK_S) -> float:
        """Look until the statement's first column is true; return when that was seen, by the monotonic clock.

        ProgramFailed after `timeout_s` seconds.
        """
        deadline = time.monotonic() + timeout_s
        connection = await asyncpg.connect(self.database_url, timeout=CALL_S)
        try:
            while not await connection.fetchval(over, timeout=CALL_S):
                if time.monotonic() > deadline:
                    raise ProgramFailed(f"{what}: not within {timeout_s:g} s{self.programs.tails()}")
                await asyncio.sleep(every_s)
            return time.monotonic()
        finally:
            await connection.close(timeout=CALL_S)

    async def until_over(self, *, timeout_s: float) -> None:
        """Wait until no job has anything left to do."""
        await self.until(OVER, "the end of all jobs", timeout_s=timeout_s)


@asynccontextmanager
async def stack(
    scene: Scene,
    broker: Broker,
    *,
    workers: int = 1,
    capacity: int = CAPACITY,
    handlers: str = "",
    database_url: str = "",
    settings: Mapping[str, str] | None = None,
    worker_env: Mapping[str, str] | None = None,
    launcher: str = "",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """Start it over a database of the launch's own, empty or filled; all ends with the block.

    Workers have the handlers that ship unless others are named. Settings are without their prefix.
    `worker_env` is as it is, and for the workers; `environment` for all. A `launcher` is a module that is given the
    name of the service, gateway or orchestrator, which it then is.
    """
    scene.progress("starting the platform")
    if not database_url:
        database_url = await scene.database()
        await schema.migrate(database_url)
    broker_url = await scene.rabbitmq() if broker == "rabbitmq" else database_url
    port = free_block(2)
    orchestrator_url, gateway_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    env = {
        "BROKER_URL": broker_url,
        "ORCHESTRATOR_PORT": str(port),
        "ORCHESTRATOR_URLS": orchestrator_url,
        "GATEWAY_PORT": str(port + 1),
        "GATEWAY_URL": gateway_url,
        **(settings or {}),
    }
    store = {"DISTRIQUEUE_DATABASE_URL": database_url}
    shared = {f"DISTRIQUEUE_{name}": value for name, value in env.items()} | dict(environment or {})
    by = (launcher,) if launcher else ()
    async with Programs(scene.home, shared) as programs:
        health, ready = f"{orchestrator_url}/api/health", f"{gateway_url}/health/ready"
        named = (handlers,) if handlers else ()
        urls = (gateway_url, orchestrator_url)
        running = Stack(programs, database_url, broker_url, gateway_url, urls, capacity, named, worker_env or {})
        async with asyncio.TaskGroup() as group:
            group.create_task(
                programs.start("orchestrator", *by, "orchestrator", ready=partial(_is_200, health), env=store)
            )
            group.create_task(programs.start("gateway", *by, "gateway", ready=partial(_is_200, ready), env=store))
            for _ in range(workers):
                group.create_task(running.start_worker())
        yield running


def _has_started(log: str) -> bool:
    return "worker_started" in log


def _is_200(url: str, _log: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
