"""The command line, as a program, on a real gateway."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.gateway import RunningGateway, running_gateway
from tests.servers.process import private_env

PROGRAM: Final = (sys.executable, "-m", "distriqueue.cli")
TIME_S: Final = 40.0


@dataclass(frozen=True)
class Said:
    """What one run of a command said."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote for programs."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`distriqueue`, told where the gateway is."""

    gateway: RunningGateway
    home: Path

    def env(self, **settings: str) -> dict[str, str]:
        """Return the environment of a command."""
        return private_env(DISTRIQUEUE_URL=self.gateway.url, DISTRIQUEUE_HOME=str(self.home), **settings)

    async def followed(self) -> None:
        """Wait until somebody follows the gateway's stream; nothing signals it."""
        async with asyncio.timeout(TIME_S):
            while not self.gateway.parts.hub.clients:  # noqa: ASYNC110 -- it is a count
                await asyncio.sleep(0.02)

    async def __call__(self, *arguments: str, code: int = 0, given: str = "", **settings: str) -> Said:
        """Run a command; it must end with this exit code."""
        process = await asyncio.create_subprocess_exec(
            *(*PROGRAM, *arguments),
            env=self.env(**settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(TIME_S):
                out, errors = await process.communicate(given.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == code, (out.decode(), errors.decode())
        assert "Traceback" not in errors.decode()
        return Said(out.decode(), errors.decode())


@pytest.fixture
async def distriqueue(database_url: str, tmp_path: Path) -> AsyncIterator[CommandLine]:
    """The command line on a gateway over an empty database; no worker runs, tests report in its place."""
    async with running_gateway(database_url) as gateway:
        yield CommandLine(gateway, tmp_path / "home")
