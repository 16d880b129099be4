"""Handlers that take a known time: `python -m workers benchmarks.systems.work:registry`."""

import asyncio
import time
from typing import Final

from pydantic import BaseModel

from workers.handlers.registry import Registry
from workers.runtime.context import JobContext

registry: Final = Registry()


class Spin(BaseModel):
    """How much CPU to use up."""

    cpu_ms: float


class Wait(BaseModel):
    """How long to wait, without using anything."""

    n: int = 0
    """The job's number, for whoever looks for it."""
    ms: float
    later_ms: float | None = None
    """From the second attempt on, if that differs."""


@registry.handler("spin", kind="process")
def spin(payload: Spin) -> dict[str, int]:
    """Count until that much CPU time of this process is used up, however long others have the core meanwhile."""
    until_s = time.process_time() + payload.cpu_ms / 1000
    turns = 0
    while time.process_time() < until_s:
        turns += 1
    return {"turns": turns}


@registry.handler("wait")
async def wait(payload: Wait, ctx: JobContext) -> dict[str, int]:
    """Hold a slot of the worker; return when that began, by `time.monotonic_ns`."""
    started_ns = time.monotonic_ns()
    later_ms = payload.ms if payload.later_ms is None else payload.later_ms
    await asyncio.sleep((payload.ms if ctx.attempt == 1 else later_ms) / 1000)
    return {"started_ns": started_ns}
