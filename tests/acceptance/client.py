"""Clients for the suite, over bare sockets: a submitter that is no bottleneck, and a reader of server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final
from urllib.parse import urlsplit

CALL_S: Final = 30.0
LOST: Final = 0
"""The status of a request that got no answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; status `LOST` when the connection broke first."""

    status: int
    body: bytes = b""

    def json(self) -> Any:
        """Read the body."""
        return json.loads(self.body)


class Connection:
    """One kept-alive HTTP/1.1 connection, opened anew when it broke."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, path: str, body: bytes = b"", *, content_type: str = "application/json") -> Reply:
        """Send a request and read its answer."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(CALL_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port)
                reader, writer = self._streams
                writer.write(head.encode() + body)
                return await self._read(reader)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Reply(LOST)

    def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _read(self, reader: asyncio.StreamReader) -> Reply:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        reply = Reply(int(head[9:12]), await reader.readexactly(length))
        if b"\r\nconnection: close" in head:
            self.close()
        return reply


async def call(url: str, method: str, path: str, body: object = None) -> Reply:
    """Make one request on a connection of its own."""
    connection = Connection(url)
    try:
        return await connection.call(method, path, b"" if body is None else json.dumps(body).encode())
    finally:
        connection.close()


async def get(url: str, path: str) -> Any:
    """Return what a GET answers, which must be a 200."""
    reply = await call(url, "GET", path)
    assert reply.status == 200, reply
    return reply.json()


async def submit(
    urls: Sequence[str], jobs: Iterable[dict[str, Any]], *, connections: int = 32, until: asyncio.Event | None = None
) -> list[Reply]:
    """Post each job on its own, over several connections that alternate between the gateways, in no promised order.

    Ends early once `until` is set.
    """
    waiting = iter(jobs)
    replies: list[Reply] = []

    async def post(connection: Connection) -> None:
        try:
            for job in waiting:
                replies.append(await connection.call("POST", "/api/jobs", json.dumps(job).encode()))
                if until is not None and until.is_set():
                    return
        finally:
            connection.close()

    async with asyncio.TaskGroup() as group:
        for url, _ in zip(cycle(urls), range(connections)):
            group.create_task(post(Connection(url)))
    return replies


def accepted(replies: Iterable[Reply]) -> list[str]:
    """Return the ids of the jobs that were acknowledged."""
    return [reply.json()["id"] for reply in replies if reply.status == 202]


@dataclass(frozen=True, slots=True)
class ServerSent:
    """One server-sent event."""

    id: int
    name: str
    data: dict[str, Any]


class EventStream:
    """An open `GET /api/jobs/stream`."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._rest = b""

    async def chunk(self) -> bytes:
        """Return the next piece of the body as it came, empty at its end."""
        try:
            size = int(await self._reader.readline() or b"0", 16)
            data = await self._reader.readexactly(size + 2)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            return b""
        return data[:-2]

    async def __aiter__(self) -> AsyncIterator[ServerSent]:
        """Yield events until the stream ends; comments are skipped."""
        while piece := await self.chunk():
            *frames, self._rest = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
            for frame in frames:
                fields = dict(line.partition(": ")[::2] for line in frame.decode().split("\n"))
                if "event" in fields:
                    yield ServerSent(int(fields["id"]), fields["event"], json.loads(fields["data"]))


@asynccontextmanager
async def events(url: str, *, after: int | None = None, query: str = "") -> AsyncIterator[EventStream]:
    """Open a stream, resumed after an event's id if given; leaving the block cuts the connection."""
    parts = urlsplit(url)
    resume = "" if after is None else f"Last-Event-ID: {after}\r\n"
    async with asyncio.timeout(CALL_S):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)
        try:
            writer.write(f"GET /api/jobs/stream{query} HTTP/1.1\r\nHost: {parts.netloc}\r\n{resume}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
        except BaseException:
            writer.transport.abort()
            raise
    try:
        assert head.startswith(b"HTTP/1.1 200"), head
        yield EventStream(reader)
    finally:
        writer.transport.abort()
