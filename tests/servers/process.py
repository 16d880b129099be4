"""A server as a child process that never outlives the tests."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil

from distriqueue.local import launch

# To the kernel, the end of the thread that made a child is its parent's end: one thread makes them all, and lives on.
_spawner: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ServerFailed(RuntimeError):
    """A private server did not start, with the end of its log."""


def accepts(port: int) -> bool:
    """Tell whether something listens on the port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


class ServerProcess:
    """One server program; `stop_signal` is what makes it end in good order, `orphan_signal` what it gets if we die."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        account: str | None = None,
        reach: bool = False,
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._command = command
        self._log = log
        self._env = env
        self._account = account
        self._reach = reach
        self._stop_signal = stop_signal
        self._orphan_signal = orphan_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; ServerFailed when it does not run."""
        if self._process is None:
            raise ServerFailed(f"{self._command[0]} is not running")
        return self._process.pid

    def start(self, is_ready: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Start it and wait until `is_ready`; ServerFailed with its log when it ends first or takes too long."""
        self._process = _spawner.submit(self._spawn).result(timeout_s)
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self._process.poll() is not None:
                code = self._process.returncode
                self._process = None
                raise ServerFailed(f"{self._command[0]} ended with {code}:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self._command[0]} was not ready within {timeout_s:g} s:\n{self._tail()}")
            time.sleep(0.02)

    def stop(self, *, timeout_s: float = 20.0) -> None:
        """End it in good order, or by SIGKILL after `timeout_s` seconds."""
        self._end(self._stop_signal, timeout_s)

    def kill(self) -> None:
        """SIGKILL it, and wait until its children are gone too."""
        self._end(signal.SIGKILL, 20.0)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        # Finalizers do not run when a timeout ends pytest at once; the kernel's signal, which this asks for, comes.
        command = launch.command(tuple(self._command), self._orphan_signal, account=self._account, reach=self._reach)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    def _end(self, by: signal.Signals, timeout_s: float) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        family = _family(process.pid)
        if process.poll() is None:
            process.send_signal(by)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20.0)
        _, alive = psutil.wait_procs(family, timeout=10.0)
        for child in alive:
            child.kill()
        psutil.wait_procs(alive, timeout=10.0)

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def private_env(**extra: str) -> dict[str, str]:
    """Return a minimal environment: nothing of the caller's but the search path and the language."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **extra}
