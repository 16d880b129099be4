"""What a process writes, line by line."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

_LINE_BYTES: Final = 65_536


@dataclass(slots=True)
class Output:
    """A pipe of our own: with one of asyncio's, waiting for a process can mean waiting for its grandchildren."""

    reader: asyncio.StreamReader
    write_end: int | None

    def handed_over(self) -> None:
        """Close our copy of the write end, once the process has its own."""
        if self.write_end is not None:
            os.close(self.write_end)
            self.write_end = None

    async def lines(self) -> AsyncIterator[str]:
        """Yield lines; one without end is cut into pieces, so that no process can fill our memory."""
        rest = b""
        while chunk := await self.reader.read(_LINE_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace").rstrip("\r")
            if len(rest) >= _LINE_BYTES:
                yield rest.decode(errors="replace")
                rest = b""
        if rest:
            yield rest.decode(errors="replace")


@contextlib.asynccontextmanager
async def output_pipe() -> AsyncIterator[Output]:
    """Yield a pipe for the output of one process, and close both ends after."""
    read_end, write_end = os.pipe()
    output = Output(asyncio.StreamReader(), write_end)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output.reader), os.fdopen(read_end, "rb", buffering=0)
    )
    try:
        yield output
    finally:
        output.handed_over()
        transport.close()
