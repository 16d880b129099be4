"""The command line, as a program, on a real gateway."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from distriqueue.local.stack import Stack
from distriqueue.sdk.client import Client
from distriqueue.sdk.submission import NewJob
from tests.integration.gateway import RunningGateway, running_gateway
from tests.servers.process import private_env
from tests.unit.cli.commands import run

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


@dataclass(frozen=True)
class Ground:
    """A stack, and what is there for commands to work on."""

    stack: Stack
    key: str
    """Of an admin: once there is a key, nobody is served without one."""
    batch: str
    completed: str
    """A job of it, that has completed."""
    schedule: str
    silent: str
    """A worker that was heard once."""


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A stack of real processes, with a cluster whose leader can step down; for tests that leave no trace."""
    home = tmp_path_factory.mktemp("stack") / "home"
    with Stack.start(home, orchestrators=3) as stack, pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", made := io.StringIO())
        assert run(patched, "apikey", "create", "tests", "--scope", "admin", home=home) == 0
        key = made.getvalue().strip()
        with Client(stack.gateway_urls[0], api_key=key) as client:
            batch = client.submit_many([NewJob("calculate", {"numbers": [1]})])
            (job,) = batch.jobs
            assert job is not None
            job.result(timeout=60)
        schedule = ("create", "new-year", "--cron", "0 0 1 1 *", "--type", "calculate")
        assert run(patched, "schedules", *schedule, key=key, home=home) == 0
        beat = {"workerId": "silent", "workerType": "python", "capacity": 1, "currentLoad": 0, "types": ["calculate"]}
        told = httpx.post(
            f"{stack.orchestrator_urls[0]}/api/workers/heartbeat",
            json=beat,
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
        )
        assert told.status_code == 200, told.text
        yield Ground(stack, key, str(batch.id), str(job.id), "new-year", "silent")


@pytest.fixture(scope="session")
def empty_database(ground: Ground) -> str:
    """A database of the stack's Postgres, without tables."""

    async def make() -> str:
        connection = await asyncpg.connect(ground.stack.database_url)
        try:
            await connection.execute("CREATE DATABASE empty TEMPLATE template0")
        finally:
            await connection.close()
        return f"{ground.stack.database_url.rpartition('/')[0]}/empty"

    return asyncio.run(make())
