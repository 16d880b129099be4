"""Applications that take a job and do nothing with it, for `uvicorn benchmarks.limits.web:bare` and `:fastapi`."""

import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel

Message = MutableMapping[str, Any]
_ANSWER: Final = b'{"id":"00000000-0000-0000-0000-000000000000","status":"pending"}'


async def bare(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Read a body and answer 202, by ASGI alone."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})


class Job(BaseModel):
    """What is submitted."""

    type: str
    payload: dict[str, Any]


class Accepted(BaseModel):
    """What is answered."""

    id: uuid.UUID
    status: str = "pending"


fastapi: Final = FastAPI()


@fastapi.post("/jobs", status_code=202)
async def submit(_job: Job) -> Accepted:
    """Check a job and answer."""
    return Accepted(id=uuid.UUID(int=0))
