"""Handlers for the tests; in a module of their own, because child processes import them by name."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from pydantic import BaseModel, Field

from distriqueue.core.errors import Discard, Retry
from workers import JobContext, Registry

SEEN = ("job_id", "type", "status", "result", "error", "omitted")


class Amount(BaseModel):
    """A payload with a contract."""

    amount: int = Field(ge=0)


class Gates:
    """What async and thread handlers of one test wait for, and tell."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.thread_go = threading.Event()
        self.cleaned_up = False
        self.runs = 0
        self.loop = asyncio.get_running_loop()


def registry_with(gates: Gates) -> Registry:
    """Return handlers bound to the gates of one test."""
    registry = Registry()

    @registry.handler("noop")
    async def noop(_payload: dict[str, Any]) -> None:
        gates.runs += 1

    @registry.handler("wait")
    async def wait(_payload: dict[str, Any], ctx: JobContext) -> str:
        gates.started.set()
        gates.runs += 1
        try:
            await gates.go.wait()
        finally:
            gates.cleaned_up = bool(ctx.cancelled)
        return "waited"

    @registry.handler("sleep")
    async def sleep(payload: dict[str, Any]) -> None:
        await asyncio.sleep(payload["s"])

    @registry.handler("stubborn")
    async def stubborn(_payload: dict[str, Any]) -> None:
        gates.started.set()
        while not gates.go.is_set():
            try:
                await gates.go.wait()
            except asyncio.CancelledError:
                continue

    @registry.handler("thread_wait")
    def thread_wait(_payload: dict[str, Any], ctx: JobContext) -> str:
        gates.loop.call_soon_threadsafe(gates.started.set)
        while not gates.thread_go.wait(0.005):
            ctx.raise_if_cancelled()
        return threading.current_thread().name

    @registry.handler("thread_hang")
    def thread_hang(_payload: dict[str, Any]) -> None:
        gates.loop.call_soon_threadsafe(gates.started.set)
        gates.thread_go.wait(10)

    @registry.handler("amount")
    async def amount(payload: Amount) -> int:
        return payload.amount

    @registry.handler("raises")
    async def raises(payload: dict[str, Any]) -> None:
        match payload["how"]:
            case "value":
                raise ValueError("not \x00 good")
            case "retry":
                raise Retry("later", delay_s=7)
            case "discard":
                raise Discard("never")
            case "exit":
                sys.exit(3)
            case "cancel":
                raise asyncio.CancelledError
            case _:
                deep(2000)

    @registry.handler("parents")
    async def parents(_payload: dict[str, Any], ctx: JobContext) -> object:
        return seen(ctx)

    @registry.handler("thread_parents")
    def thread_parents(_payload: dict[str, Any], ctx: JobContext) -> object:
        return seen(ctx)

    @registry.handler("returns_junk")
    def returns_junk(_payload: dict[str, Any]) -> object:
        return {"junk": object()}

    @registry.handler("progress")
    async def progress(payload: dict[str, Any], ctx: JobContext) -> None:
        for percent in range(payload["steps"] + 1):
            ctx.progress(100 * percent / payload["steps"], f"step {percent}")
        gates.started.set()
        await gates.go.wait()

    @registry.handler("says")
    async def says(payload: dict[str, Any], ctx: JobContext) -> None:
        ctx.progress(1, payload["message"])
        await asyncio.sleep(0.02)

    @registry.handler("brief", timeout_s=0.05)
    async def brief(_payload: dict[str, Any]) -> None:
        await gates.go.wait()

    registry.include(PROCESSES)
    return registry


def seen(ctx: JobContext) -> list[list[Any]]:
    """Return what a handler knows of its parents."""
    return [[key, *(getattr(parent, name) for name in SEEN)] for key, parent in ctx.parents.items()]


def deep(levels: int) -> None:
    """Make a long traceback."""
    if levels == 0:
        raise RuntimeError("x" * 5000)
    (deep if levels % 2 else _also_deep)(levels - 1)


def _also_deep(levels: int) -> None:
    deep(levels)


PROCESSES = Registry()


@PROCESSES.handler("child_pid", kind="process")
def child_pid(payload: Amount, ctx: JobContext) -> dict[str, Any]:
    """Tell which process runs it."""
    ctx.progress(50, "half")
    return {"pid": os.getpid(), "amount": payload.amount, "remaining": ctx.remaining_s}


@PROCESSES.handler("child_dies", kind="process")
def child_dies(payload: dict[str, Any]) -> None:
    """End the process as a crash would."""
    if payload["how"] == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGSEGV if payload["how"] == "segfault" else signal.SIGKILL)
    time.sleep(10)


@PROCESSES.handler("child_spins", kind="process")
def child_spins(payload: dict[str, Any], ctx: JobContext) -> None:
    """Burn the processor, deaf to everything; tell by progress that it began, and of a child of its own."""
    own = subprocess.Popen(["sleep", "60"])
    ctx.progress(1, f"{os.getpid()} {own.pid}")
    while True:
        pass


@PROCESSES.handler("child_async", kind="process")
async def child_async(_payload: dict[str, Any]) -> str:
    """Async handlers can run in a child too."""
    await asyncio.sleep(0)
    return "async"


@PROCESSES.handler("child_parents", kind="process")
def child_parents(_payload: dict[str, Any], ctx: JobContext) -> object:
    """Tell what it knows of its parents."""
    return seen(ctx)


@PROCESSES.handler("child_raises", kind="process")
def child_raises(_payload: dict[str, Any]) -> None:
    """Fail."""
    raise ValueError("from the child")
