"""Handlers for the rows of the API: `python -m workers tests.acceptance.api_handlers:registry`."""

import asyncio
from typing import Any, Final

from workers.handlers import default_registry
from workers.handlers.registry import Registry
from workers.runtime.context import JobContext

registry: Final[Registry] = default_registry()


@registry.handler("hold")
async def hold(payload: dict[str, Any], ctx: JobContext) -> None:
    """Run until it is cancelled."""
    ctx.progress(25.0, "holding")
    await asyncio.Event().wait()


@registry.handler("fail")
async def fail(payload: dict[str, Any]) -> None:
    """Fail, always."""
    raise RuntimeError(f"attempt 42 of {payload.get('name', 'it')} failed")


@registry.handler("read_parents")
async def read_parents(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
    """Return what the parents made."""
    return {str(job_id): parent.result for job_id, parent in ctx.parents.items()}
