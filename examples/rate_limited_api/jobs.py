"""The job `call`: ask an API that refuses who asks too often."""

import contextlib
from collections.abc import AsyncIterator

import httpx
from pydantic import BaseModel

from workers import JobContext, Registry, Retries, Retry

registry = Registry()


class Call(BaseModel):
    """Which address to ask."""

    url: str


@contextlib.asynccontextmanager
async def a_client() -> AsyncIterator[httpx.AsyncClient]:
    """One client for all jobs of the worker."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        yield client


registry.provide(httpx.AsyncClient, a_client)


# Other errors than those of the line are not worth another try.
@registry.handler("call", timeout_s=20, retry=Retries(on=(httpx.TransportError,), delay_s=1, factor=2))
async def call(payload: Call, ctx: JobContext, client: httpx.AsyncClient) -> dict[str, int]:
    """Ask; when refused, come again when the API says."""
    answer = await client.get(payload.url)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise Retry("the API refuses: too many calls", delay_s=float(answer.headers["retry-after"]))
    answer.raise_for_status()
    return {"answer": int(answer.text), "attempt": ctx.attempt}
