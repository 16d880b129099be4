"""The live event stream as one that never breaks: opened again after a cut, resumed by `Last-Event-ID`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic_core import from_json

from distriqueue.core.errors import DistriQueueError, Overloaded, Unavailable
from distriqueue.core.retry import Uniform, backoff_s
from distriqueue.sdk.errors import GatewayUnreachable, UnexpectedAnswer
from distriqueue.sdk.exchange import Query
from distriqueue.sdk.models import JobEvent, read
from distriqueue.sdk.sse import EventParser, ServerSent
from distriqueue.sdk.transport import AsyncTransport

PATH: Final = "/api/jobs/stream"
SILENCE_S: Final = 45.0
"""Three times what a gateway lets pass between two signs of life."""
MAX_PAUSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Gap:
    """From here on nothing is missed; what was before `after`, a client must look up. First of all, and after a reset.

    There is no gap after a cut that could be resumed.
    """

    after: int


async def follow(
    transport: AsyncTransport,
    query: Query,
    *,
    after: int | None = None,
    retry_for_s: float,
    rng: Uniform,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[JobEvent | Gap]:
    """Yield events in order, each once, for ever: a `Gap` first (unless after an event id), and after each reset.

    Raises what the gateway says against it (Unauthorized, Forbidden, InvalidRequest), and Unavailable once it could not
    be heard for `retry_for_s` seconds. Close it (`contextlib.aclosing`): a connection hangs on it.
    """
    cursor = after
    failures = 0
    heard_at = clock()
    while True:
        lost: DistriQueueError = GatewayUnreachable("the gateway has ended the stream", retry_after_s=0.0)
        try:
            async with transport.stream(PATH, query=query, headers=_resume(cursor), silence_s=SILENCE_S) as pieces:
                parser = EventParser()
                async for piece in pieces:
                    failures, heard_at = 0, clock()
                    for sent in parser.feed(piece):
                        item = _read(sent, begun=cursor is not None)
                        if item is not None:
                            cursor = item.after if isinstance(item, Gap) else item.id
                            yield item
                heard_at = clock()
        except (Unavailable, Overloaded) as exc:
            lost = exc
        failures += 1
        wait_s = lost.retry_after_s if isinstance(lost, Unavailable | Overloaded) else 0.0
        pause_s = max(wait_s, backoff_s(failures, rng, cap_s=MAX_PAUSE_S))
        if clock() + pause_s - heard_at > retry_for_s:
            raise lost
        await asyncio.sleep(pause_s)


def _resume(cursor: int | None) -> Mapping[str, str]:
    accept = {"accept": "text/event-stream"}
    return accept if cursor is None else accept | {"Last-Event-ID": str(cursor)}


def _read(sent: ServerSent, *, begun: bool) -> JobEvent | Gap | None:
    try:
        number = int(sent.id)
        data = from_json(sent.data)
    except ValueError:
        said = f"the stream sent what is no event of a gateway's: {sent.data[:100]!r}"
        raise UnexpectedAnswer(said, status=200) from None
    match sent.name:
        case "job-update":
            return read(JobEvent, {**data, "id": number})
        case "connected" if not begun:
            return Gap(number)
        case "reset":
            return Gap(number)
        case _:
            return None  # `connected` again after a cut, or what a newer gateway tells besides
