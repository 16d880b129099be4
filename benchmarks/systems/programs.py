"""The processes of a contender: started, watched and ended with the launch."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

import psutil

from distriqueue.local import launch
from tests.servers.process import ServerFailed, ServerProcess, private_env

ROOT: Final = Path(__file__).parents[2]
TAIL_LINES: Final = 5
START_S: Final = 60.0


class ProgramFailed(RuntimeError):
    """A program of a contender did not do its part, with the end of what it wrote."""


def at_once(_log: str) -> bool:
    """Do not wait for a program: the first jobs show whether it works."""
    return True


class Programs:
    """Python programs with a common environment, that write logs into a launch's directory; killed at its end."""

    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        self._home = home
        self._env = private_env(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1", **env)
        self._running: dict[str, ServerProcess] = {}

    async def __aenter__(self) -> Self:
        """Own what is started inside."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all: nothing of theirs is of use any more."""
        async with asyncio.TaskGroup() as group:
            for process in self._running.values():
                group.create_task(asyncio.to_thread(_kill, process))

    async def start(
        self,
        name: str,
        *argv: str,
        ready: Callable[[str], bool] = at_once,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start `python -m ARGV` and wait until `ready`, which is given its log; ServerFailed when it ends before."""
        log = self._home / f"{name}.log"
        self._running[name] = process = ServerProcess(
            (sys.executable, "-m", *argv), log=log, env={**self._env, **(env or {})}
        )
        await asyncio.to_thread(process.start, lambda: ready(log.read_text(errors="replace")), timeout_s=START_S)

    @property
    def pids(self) -> dict[str, int]:
        """Each program's process id."""
        return {name: process.pid for name, process in self._running.items()}

    async def call(self, *argv: str, stdin: bytes = b"", timeout_s: float = 600.0) -> bytes:
        """Run `python -m ARGV` to its end and return what it wrote; ProgramFailed when that was not code 0."""
        process = await asyncio.create_subprocess_exec(
            *launch.command((sys.executable, "-m", *argv), signal.SIGKILL),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._env,
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, errors = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise ProgramFailed(f"{argv[0]} ended with {process.returncode}: {last[0]}{self.tails()}")
        return out

    def tails(self) -> str:
        """Return the ends of all logs."""
        logs = {path.stem: path.read_text(errors="replace").strip() for path in sorted(self._home.glob("*.log"))}
        ends = {name: "\n".join(text.splitlines()[-TAIL_LINES:]) for name, text in logs.items() if text}
        return "".join(f"\n[{name}] {end}" for name, end in ends.items())


def _kill(process: ServerProcess) -> None:
    """End a program with the processes that it made: `ServerProcess` would give those time to notice."""
    try:
        master = psutil.Process(process.pid)
        family = (master, *master.children(recursive=True))
    except (ServerFailed, psutil.NoSuchProcess):
        return
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
