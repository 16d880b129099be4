"""Handlers of the tests of traces: `python -m workers tests.acceptance.monitoring.handlers:registry`."""

from typing import Final

from distriqueue.telemetry import get_logger
from workers.handlers.registry import Registry
from workers.runtime.context import JobContext

registry: Final = Registry()
log: Final = get_logger("handlers")


@registry.handler("second_time_lucky")
async def second_time_lucky(payload: dict[str, object], ctx: JobContext) -> dict[str, int]:
    """Fail once."""
    log.info("handler_says", where="loop")
    if ctx.attempt == 1:
        raise RuntimeError("the first attempt fails as it was told to")
    return {"attempt": ctx.attempt}


@registry.handler("in_thread")
def in_thread(payload: dict[str, object], ctx: JobContext) -> dict[str, int]:
    """Run in a thread."""
    log.info("handler_says", where="thread")
    return {"attempt": ctx.attempt}


@registry.handler("in_process", kind="process")
def in_process(payload: dict[str, object], ctx: JobContext) -> dict[str, int]:
    """Run in a child process."""
    log.info("handler_says", where="process")
    return {"attempt": ctx.attempt}
