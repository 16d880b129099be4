"""`python -m benchmarks.load.http`: posts over kept-alive HTTP/1.1 connections, one request at a time on each.

A few lines of a client, since what a real one costs would be taken from the systems that are measured on this machine.
"""

import asyncio
import collections
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.load.paced import arrivals
from benchmarks.load.plan import Plan, Submitted


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to post jobs to, and how a body is made.

    Connections alternate between the `urls`. A body is `item` with the job's number in the place of `@`, several of a
    batch separated by commas, `before` and `after` them.
    """

    urls: Sequence[str]
    item: str
    before: str = ""
    after: str = ""

    def request(self, numbers: list[int]) -> bytes:
        """Encode a whole request."""
        parts = urlsplit(self.urls[0])
        body = f"{self.before}{','.join(self.item.replace('@', str(number)) for number in numbers)}{self.after}"
        return (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


class RequestFailed(RuntimeError):
    """A submission that was not accepted; a connection that broke."""


class Connection(asyncio.Protocol):
    """One connection; `answered` is called with the place given to `send`, `lost` when an idle one is closed."""

    def __init__(
        self,
        answered: Callable[["Connection", int], None],
        failed: Callable[[str], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self._answered = answered
        self._failed = failed
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._place: int | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's derive from nothing

    def send(self, request: bytes, place: int) -> None:
        """Send a request; the one before it was answered."""
        assert self._transport is not None
        self._place = place
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer."""
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        _, has_length, tail = head.lower().partition(b"content-length:")
        if not has_length:
            self._failed(f"an answer without a length: {head[:200]!r}")
        elif len(rest) >= int(tail.partition(b"\r\n")[0]):
            place, self._place, self._received = self._place, None, b""
            if place is None:
                self._failed("an answer to nothing")
            elif head[9:10] == b"2":
                self._answered(self, place)
            else:
                self._failed(f"{head[9:12].decode()}: {rest[:300]!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail when an answer is due."""
        if self._place is not None:
            self._failed(f"the connection broke: {exc}")
        elif not self._closed:
            self._lost(self)

    def close(self) -> None:
        """Close it."""
        self._closed, self._place = True, None
        assert self._transport is not None
        self._transport.abort()


class Poster:
    """Posts all of a plan's submissions."""

    def __init__(self, plan: Plan, endpoint: Endpoint) -> None:
        self._plan = plan
        self._requests = [endpoint.request(numbers) for numbers in plan.submissions()]
        self._servers = [urlsplit(url) for url in endpoint.urls]
        self._waiting: collections.deque[int] = collections.deque()
        self._idle: collections.deque[Connection] = collections.deque()
        self._answers: list[int] = [0] * len(self._requests)
        self._left = len(self._requests)
        self._open = 0
        self._over: asyncio.Future[None]

    async def run(self) -> Submitted:
        """Connect, post, and close; RequestFailed at the first submission that is not accepted."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        async with asyncio.timeout(self._plan.timeout_s):
            for number in range(min(self._plan.callers, len(self._requests))):
                server = self._servers[number % len(self._servers)]
                _, connection = await loop.create_connection(
                    lambda: Connection(self._answered, self._failed, self._lost),
                    server.hostname or "",
                    server.port or 80,
                )
                self._idle.append(connection)
            connections = tuple(self._idle)
            self._open = len(connections)
            try:
                first_ns, due_ns = await self._post()
                await self._over
            finally:
                for connection in connections:
                    connection.close()
        if not due_ns:
            return Submitted(first_ns, max(self._answers))
        return Submitted(first_ns, max(self._answers), due_ns=due_ns, answered_ns=tuple(self._answers))

    async def _post(self) -> tuple[int, tuple[int, ...]]:
        if self._plan.per_s is not None:
            times = await arrivals(self._plan, self._arrive)
            return times[0], times
        first_ns = time.monotonic_ns()
        for place in range(len(self._requests)):
            self._arrive(place)
        return first_ns, ()

    def _arrive(self, place: int) -> None:
        if self._idle:
            self._idle.popleft().send(self._requests[place], place)  # in turn, so that none is idle for long
        else:
            self._waiting.append(place)

    def _answered(self, connection: Connection, place: int) -> None:
        self._answers[place] = time.monotonic_ns()
        self._left -= 1
        if self._waiting:
            following = self._waiting.popleft()
            connection.send(self._requests[following], following)
        else:
            self._idle.append(connection)
        if not self._left and not self._over.done():
            self._over.set_result(None)

    def _lost(self, connection: Connection) -> None:
        """The server closed a connection that had nothing to do: there are others, or there is nothing left to do."""
        self._idle.remove(connection)
        self._open -= 1
        if not self._open:
            self._failed("the server closed every connection")

    def _failed(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_exception(RequestFailed(reason))


def main() -> None:
    """Post what the standard input says: a plan and an endpoint."""
    told: dict[str, Any] = json.load(sys.stdin)
    endpoint = Endpoint(**told.pop("endpoint"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Poster(Plan(**told), endpoint).run()).tell()


if __name__ == "__main__":
    main()
