"""Handlers that log, leave checkpoints, need things and wait for their turns; importable, for child processes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from workers import JobContext, Registry, Retries


class Database:
    """Something that handlers are given."""

    def __init__(self) -> None:
        self.is_open = True


class Cache(Database):
    """Something else."""


class World:
    """What the handlers of one test wait for, and leave."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.fail_to_open = 0
        self.open_gate = asyncio.Event()
        self.open_gate.set()
        self.close_gate = asyncio.Event()
        self.close_gate.set()
        self.go = asyncio.Event()
        self.running: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.tasks: set[object] = set()

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Open a database."""
        await self.open_gate.wait()
        if self.fail_to_open:
            self.fail_to_open -= 1
            raise ConnectionError("no database today")
        task = asyncio.current_task()
        database = Database()
        self.opened.append("database")
        try:
            yield database
        finally:
            assert asyncio.current_task() is task, "left by another task than it was entered by"
            await self.close_gate.wait()
            database.is_open = False
            self.closed.append("database")

    @contextlib.asynccontextmanager
    async def cache(self) -> AsyncIterator[Cache]:
        """Open a cache, and fail to close it."""
        self.opened.append("cache")
        yield Cache()
        raise RuntimeError("the cache does not close")

    @contextlib.contextmanager
    def one_of(self, type_: str) -> Any:
        """Count how many run at once."""
        self.running[type_] = self.running.get(type_, 0) + 1
        self.most[type_] = max(self.most.get(type_, 0), self.running[type_])
        try:
            yield
        finally:
            self.running[type_] -= 1

    def registry(self) -> Registry:
        """Return the handlers."""
        registry = Registry()
        registry.provide(Database, self.database)
        registry.provide(Cache, self.cache)
        registry.include(PROCESSES)

        @registry.handler("talk")
        async def talk(payload: dict[str, Any], ctx: JobContext) -> Any:
            return talk_about(payload, ctx)

        @registry.handler("thread_talk")
        def thread_talk(payload: dict[str, Any], ctx: JobContext) -> Any:
            return talk_about(payload, ctx)

        @registry.handler("talk_on")
        async def talk_on(payload: dict[str, Any], ctx: JobContext) -> None:
            for what in payload["say"]:
                match what:
                    case "line":
                        ctx.log.info("one")
                    case "checkpoint":
                        ctx.checkpoint({"at": 1})
                    case _:
                        ctx.progress(5, "five")
                await self.go.wait()
                self.go.clear()

        @registry.handler("wait_for_turn", concurrency=2)
        async def wait_for_turn(_payload: dict[str, Any]) -> None:
            with self.one_of("wait_for_turn"):
                await self.go.wait()

        @registry.handler("thread_turn", concurrency=1)
        def thread_turn(payload: dict[str, Any]) -> None:
            with self.one_of("thread_turn"):
                time.sleep(payload["s"])

        @registry.handler("free")
        async def free(_payload: dict[str, Any]) -> None: ...

        @registry.handler("needs")
        async def needs(_payload: dict[str, Any], ctx: JobContext, db: Database) -> list[Any]:
            return [ctx.attempt, db.is_open, type(db).__name__]

        @registry.handler("thread_needs")
        def thread_needs(_payload: dict[str, Any], db: Database, *, cache: Cache, ctx: JobContext) -> list[Any]:
            return [ctx.attempt, db.is_open, type(cache).__name__]

        @registry.handler("needs_later")
        async def needs_later(_payload: dict[str, Any], db: Database) -> bool:
            await self.go.wait()
            return db.is_open

        @registry.handler("missing")
        async def missing(_payload: dict[str, Any], other: World) -> None: ...

        @registry.handler("picky", retry=Retries(on=(OSError,), delay_s=3, factor=2))
        async def picky(payload: dict[str, Any]) -> None:
            raise OSError("again") if payload.get("again") else ValueError("never")

        return registry


def talk_about(payload: dict[str, Any], ctx: JobContext) -> Any:
    """Log so many lines, leave a checkpoint, fail if told to, and return what was left before."""
    for number in range(payload.get("lines", 0)):
        ctx.log.info("step", number=number)
    if "checkpoint" in payload:
        ctx.checkpoint("an older one")
        ctx.checkpoint(payload["checkpoint"])
    if payload.get("fail"):
        raise ValueError("as told")
    return ctx.resume


PROCESSES = Registry()


@PROCESSES.handler("child_talk", kind="process")
def child_talk(payload: dict[str, Any], ctx: JobContext) -> Any:
    """As the others, in a process."""
    return talk_about(payload, ctx)


@PROCESSES.handler("child_by_name", kind="process")
def child_by_name(_payload: dict[str, Any], *, ctx: JobContext) -> int:
    """Take the context by its name."""
    return ctx.attempt


@PROCESSES.handler("child_picky", kind="process", retry=Retries(on=(OSError,), delay_s=3, factor=2))
def child_picky(payload: dict[str, Any]) -> None:
    """Fail, worth a retry or not."""
    raise OSError("again") if payload.get("again") else ValueError("never")


@PROCESSES.handler("child_turn", kind="process", concurrency=1)
def child_turn(payload: dict[str, Any]) -> list[float]:
    """Say from when to when it ran, on the clock that all processes have."""
    began_at = time.monotonic()
    time.sleep(payload["s"])
    return [began_at, time.monotonic()]


GREEDY = Registry()


@GREEDY.handler("greedy")
async def greedy(_payload: dict[str, Any], db: Database) -> None:
    """Need what nobody provides."""
