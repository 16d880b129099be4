"""The handlers of the client's tests: `python -m workers tests.acceptance.sdk_handlers:registry`."""

from typing import Final

from pydantic import BaseModel

from tests.acceptance.handlers import registry as recording
from workers.handlers.registry import Registry

registry: Final = Registry()
registry.include(recording)


class Number(BaseModel):
    """One of many."""

    n: int


@registry.handler("echo")
async def echo(payload: Number) -> dict[str, int]:
    """Return what came."""
    return {"n": payload.n}
