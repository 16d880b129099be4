"""What workers in containers run for the tests of docker-compose.yml; mounted there, so it stands alone."""

import asyncio

from pydantic import BaseModel, Field

from workers import JobContext, Registry
from workers.handlers import default_registry


class Nap(BaseModel):
    """How long to sleep, in seconds."""

    seconds: float = Field(ge=0, le=60)


registry = Registry()
registry.include(default_registry())


@registry.handler("nap")
async def nap(payload: Nap, context: JobContext) -> dict[str, object]:
    """Take a while, so that a worker dies with it in hand."""
    await asyncio.sleep(payload.seconds)
    return {"attempt": context.attempt}
