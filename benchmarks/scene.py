"""The private servers of a run, and what one launch gets of them: a database and a vhost that nobody has used."""

import asyncio
import re
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
import psutil

from distriqueue.local import postgres as embedded
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer, find_program

SETTINGS: Final = {
    **embedded.SETTINGS,
    "shared_buffers": f"{embedded.shared_buffers_mb()}MB",
    "synchronous_commit": "on",
}
"""Of Postgres, for every contender: what the embedded stack sets."""
CALL_S: Final = 60.0
QUICK_VHOSTS: Final = 40
"""Made at once in a quick run, and removed with the server: a call of `rabbitmqctl` takes about two seconds."""


class Servers:
    """One Postgres and one RabbitMQ, each started when a launch first asks for it; `servers` makes them."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self._postgres: PostgresServer | None = None
        self._rabbitmq: RabbitMQServer | None = None
        self._vhosts: list[str] = []
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def scene(self, say: Callable[[str], None]) -> AsyncIterator["PrivateScene"]:
        """Yield the scene of one launch."""
        async with AsyncExitStack() as stack:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="dq-bench-", ignore_cleanup_errors=True))
            yield PrivateScene(self, Path(home), say, stack)

    async def postgres(self) -> PostgresServer:
        """Return Postgres, started."""
        async with self._lock:
            if self._postgres is None:
                self._postgres = await asyncio.to_thread(PostgresServer, fsync=True, settings=SETTINGS)
                await asyncio.to_thread(self._postgres.start)
            return self._postgres

    async def vhost(self) -> str:
        """Return the URL of a vhost without queues; those of earlier launches are gone."""
        async with self._lock:
            if self._rabbitmq is None:
                self._rabbitmq = await asyncio.to_thread(RabbitMQServer)
                await asyncio.to_thread(self._rabbitmq.start)
            if not self._vhosts:
                self._vhosts = [f"bench{secrets.token_hex(4)}" for _ in range(QUICK_VHOSTS if self.quick else 1)]
                await asyncio.to_thread(_replace_vhosts, self._rabbitmq.pid, self._vhosts)
            return self._rabbitmq.url + self._vhosts.pop()

    async def facts(self) -> dict[str, str]:
        """Return the versions of the servers that ran."""
        facts = {}
        if self._postgres is not None:
            connection = await asyncpg.connect(self._postgres.url(), timeout=CALL_S)
            try:
                facts["postgres"] = str(await connection.fetchval("SHOW server_version", timeout=CALL_S))
            finally:
                await connection.close(timeout=CALL_S)
        if self._rabbitmq is not None:
            found = re.search(r"rabbitmq_server-([\d.]+)", str(find_program()))
            facts["rabbitmq"] = found[1] if found else "unknown"
        return facts

    async def close(self) -> None:
        """End them and remove their data."""
        for server in (self._rabbitmq, self._postgres):
            if server is not None:
                await asyncio.to_thread(server.close)


class PrivateScene:
    """The `Scene` of one launch."""

    def __init__(self, servers: Servers, home: Path, say: Callable[[str], None], stack: AsyncExitStack) -> None:
        self.home = home
        self.quick = servers.quick
        self._servers = servers
        self._say = say
        self._stack = stack

    async def database(self) -> str:
        """Return the URL of a fresh database without tables, dropped after the launch; what came before is on disk."""
        server = await self._servers.postgres()
        name = await server.create_database()
        self._stack.push_async_callback(server.drop_database, name)
        await server.execute("CHECKPOINT")
        return server.url(name)

    async def rabbitmq(self) -> str:
        """Return the URL of a RabbitMQ without queues of an earlier launch: a vhost of its own."""
        return await self._servers.vhost()

    def progress(self, text: str) -> None:
        """Say what the launch is doing."""
        self._say(text)


@asynccontextmanager
async def servers(*, quick: bool) -> AsyncIterator[Servers]:
    """Yield the servers, ended with all their data when the block is left, by Ctrl-C too."""
    private = Servers(quick=quick)
    try:
        yield private
    finally:
        await private.close()


def _replace_vhosts(server_pid: int, names: list[str]) -> None:
    """Delete all vhosts but the default one, and make new ones, in one call."""
    quoted = ",".join(f'<<"{name}">>' for name in names)
    program = f"""
        By = <<"bench">>, All = <<".*">>,
        [ok = rabbit_vhost:delete(V, By) || V <- rabbit_vhost:list_names(), V =/= <<"/">>],
        Permit = fun(V) -> rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, All, All, All, By) end,
        [begin rabbit_vhost:add(V, By), Permit(V) end || V <- [{quoted}]]."""
    # The server's own environment has its name, its cookie and its name server.
    env = psutil.Process(server_pid).environ()
    subprocess.run(
        [str(find_program().with_name("rabbitmqctl")), "eval", program],
        check=True,
        env=env,
        timeout=CALL_S,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
