"""Handlers that go on where an earlier attempt was: `python -m workers tests.acceptance.step_handlers:registry`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from pydantic import BaseModel

from workers import JobContext, Registry, Retries

registry: Final = Registry()


class Steps(BaseModel):
    """How many steps to make, and how long each takes."""

    steps: int
    step_s: float = 0.1


class Clock:
    """What handlers are given."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()


@contextlib.asynccontextmanager
async def a_clock() -> AsyncIterator[Clock]:
    """Open a clock."""
    yield Clock()


registry.provide(Clock, a_clock)


@registry.handler("steps")
async def steps(payload: Steps, ctx: JobContext, clock: Clock) -> dict[str, int]:
    """Make steps in the event loop."""
    assert clock.started_at <= time.monotonic()
    first = ctx.resume or 0
    for number in range(first, payload.steps):
        await asyncio.sleep(payload.step_s)
        done(ctx, number)
    return {"first": first, "attempt": ctx.attempt}


@registry.handler("thread_steps", concurrency=2)
def thread_steps(payload: Steps, ctx: JobContext) -> dict[str, int]:
    """Make steps in a thread."""
    first = ctx.resume or 0
    for number in range(first, payload.steps):
        time.sleep(payload.step_s)
        ctx.raise_if_cancelled()
        done(ctx, number)
    return {"first": first, "attempt": ctx.attempt}


@registry.handler("process_steps", kind="process")
def process_steps(payload: Steps, ctx: JobContext) -> dict[str, int]:
    """Make steps in a child process."""
    first = ctx.resume or 0
    for number in range(first, payload.steps):
        time.sleep(payload.step_s)
        done(ctx, number)
    return {"first": first, "attempt": ctx.attempt}


@registry.handler("fails_once", retry=Retries(on=(OSError,), delay_s=0.1))
async def fails_once(_payload: dict[str, object], ctx: JobContext) -> object:
    """Leave a checkpoint with the failure itself; go on from it, and fail in a way that is the end."""
    if ctx.resume is None:
        ctx.log.warning("first", why="as told")
        ctx.checkpoint({"seen": 1})
        raise OSError("worth another try")
    ctx.log.error("second", resume=ctx.resume)
    raise ValueError("not worth one")


def done(ctx: JobContext, number: int) -> None:
    """Say that a step is done."""
    ctx.log.info("step done", number=number)
    ctx.checkpoint(number + 1)
