"""The handlers of the suite: `python -m workers tests.acceptance.handlers:registry`. All keep the ledger."""

import asyncio
import os
import time
from typing import Final

from pydantic import BaseModel

from distriqueue.core.errors import Retry
from tests.acceptance.ledger import PATH_VARIABLE, LedgerWriter
from workers.handlers.registry import Registry
from workers.runtime.context import JobContext

registry: Final = Registry()
ledger: Final = LedgerWriter() if PATH_VARIABLE in os.environ else None


class Work(BaseModel):
    """How long to work."""

    ms: float = 0.0
    later_ms: float | None = None
    """From the second attempt on, if that differs."""


class Failing(BaseModel):
    """How often to fail before success."""

    times: int
    after_s: float | None = None
    """The delay to ask for; the policy's backoff when absent."""


@registry.handler("record")
async def record(payload: Work, ctx: JobContext) -> dict[str, int]:
    """Work in the event loop."""
    assert ledger is not None
    with ledger.run(ctx.job_id, ctx.attempt):
        ms = payload.ms if ctx.attempt == 1 or payload.later_ms is None else payload.later_ms
        if ms:
            await asyncio.sleep(ms / 1000)
    return {"attempt": ctx.attempt}


@registry.handler("record_in_process", kind="process")
def record_in_process(payload: Work, ctx: JobContext) -> dict[str, int]:
    """Work in a child process, deaf to everything but SIGKILL."""
    assert ledger is not None
    with ledger.run(ctx.job_id, ctx.attempt):
        time.sleep(payload.ms / 1000)
    return {"attempt": ctx.attempt}


@registry.handler("fail_n_times")
async def fail_n_times(payload: Failing, ctx: JobContext) -> dict[str, int]:
    """Fail the first attempts."""
    assert ledger is not None
    with ledger.run(ctx.job_id, ctx.attempt):
        if ctx.attempt <= payload.times:
            if payload.after_s is not None:
                raise Retry("not yet", delay_s=payload.after_s)
            raise RuntimeError(f"attempt {ctx.attempt} fails as it was told to")
    return {"attempt": ctx.attempt}
