"""A program of which standard error is a terminal, and standard output a pipe: as in `python map.py > results`."""

import asyncio
import contextlib
import os
import pty
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.acceptance.stack import ROOT
from tests.servers.process import private_env

_SEQUENCES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
READ_BYTES: Final = 65_536


@dataclass
class OnTerminal:
    """The program as it runs, and what its terminal has shown."""

    process: asyncio.subprocess.Process
    out: asyncio.StreamReader
    _shown: bytearray = field(default_factory=bytearray)

    @property
    def shown(self) -> str:
        """All that the terminal was sent, without its commands to the cursor."""
        return _SEQUENCES.sub("", self._shown.decode(errors="replace"))

    def _see(self, terminal: int) -> None:
        with contextlib.suppress(OSError):  # EIO: the program has closed its end
            self._shown += os.read(terminal, READ_BYTES)


@asynccontextmanager
async def on_terminal(script: str, *arguments: str, env: Sequence[tuple[str, str]] = ()) -> AsyncIterator[OnTerminal]:
    """Run a Python program; it is killed if the block is left before it ends."""
    ours, its = pty.openpty()
    loop = asyncio.get_running_loop()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, *arguments),
            env=private_env(PYTHONPATH=str(ROOT), TERM="xterm-256color", COLUMNS="100", **dict(env)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=its,
        )
        os.close(its)
        assert process.stdout is not None
        running = OnTerminal(process, process.stdout)
        loop.add_reader(ours, running._see, ours)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            loop.remove_reader(ours)
    finally:
        os.close(ours)
