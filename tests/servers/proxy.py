"""A TCP proxy that a test can cut, close and stall: a network that fails on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Forwards connections to one port of 127.0.0.1; yielded by `proxy`."""

    def __init__(self, upstream_port: int, group: asyncio.TaskGroup) -> None:
        self._upstream_port = upstream_port
        self._group = group
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = True
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def close(self) -> None:
        """Reset every connection and take no new one, until `reopen`."""
        self._open = False
        self.cut()

    def reopen(self) -> None:
        """Take connections again."""
        self._open = True

    def stall(self) -> None:
        """Keep the connections and forward nothing, until `flow`."""
        self._flowing.clear()

    def flow(self) -> None:
        """Forward again."""
        self._flowing.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if not self._open:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream_writer}
        self._group.create_task(self._forward(reader, upstream_writer, back=writer))
        self._group.create_task(self._forward(upstream_reader, writer, back=upstream_writer))

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(262_144):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            back.transport.abort()
        finally:
            writer.close()
            self._writers.discard(writer)


@asynccontextmanager
async def proxy(upstream_port: int) -> AsyncIterator[Proxy]:
    """Yield a proxy to a port, closed at the end with all its connections."""
    async with asyncio.TaskGroup() as group:
        forwarder = Proxy(upstream_port, group)
        server = await asyncio.start_server(forwarder.accept, "127.0.0.1", 0)
        forwarder.port = server.sockets[0].getsockname()[1]
        try:
            yield forwarder
        finally:
            forwarder.flow()
            forwarder.close()
            server.close()
