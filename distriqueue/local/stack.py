"""A private stack for a test: real processes on free ports, in a home of its own, gone with the test.

    with Stack.start(tmp_path / "home", gateways=2, workers=1, worker_capacity=10) as stack:
        httpx.post(f"{stack.gateway_urls[0]}/api/jobs", json=…)
        old = stack.pids(Role.WORKER)[0]
        os.kill(old, signal.SIGKILL)
        new = stack.replaced(Role.WORKER, old)

Every call blocks; an async test calls it by `asyncio.to_thread`. The stack also ends when the test's process does,
however that ends, since it is tied to it by a pipe.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Final

from distriqueue.core.errors import DistriQueueError
from distriqueue.local import control, ports
from distriqueue.local.home import Home
from distriqueue.local.logs import last_lines
from distriqueue.local.plan import Options
from distriqueue.local.state import Condition, Role, StackState
from distriqueue.settings import PREFIX

_POLL_S: Final = 0.02


class Stack(AbstractContextManager["Stack"]):
    """A running stack; `start` makes one, leaving the block stops it."""

    def __init__(self, home: Home, options: Options, supervisor: "subprocess.Popen[bytes]") -> None:
        self.home = home
        self.options = options
        self._supervisor = supervisor

    @classmethod
    def start(
        cls,
        home: Path,
        *,
        gateways: int = 1,
        orchestrators: int = 1,
        workers: int = 1,
        worker_capacity: int | None = None,
        worker_app: str | None = None,
        database_url: str | None = None,
        broker_url: str | None = None,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> "Stack":
        """Start and return once everything is ready; `env` is added for every process, ours is passed without
        DISTRIQUEUE_*. NotStarted carries the reason and the last lines of the log."""
        options = Options(
            home=str(home),
            port=port or ports.free_block(gateways + orchestrators),
            gateways=gateways,
            orchestrators=orchestrators,
            workers=workers,
            worker_capacity=worker_capacity,
            worker_app=worker_app,
            database_url=database_url,
            broker_url=broker_url,
            tied=True,
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        supervisor = control.start(options, announce=_quiet, env={**clean, **(env or {})})
        return cls(Home.at(home), options, supervisor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def state(self) -> StackState:
        """The state as of now."""
        current = control.view(self.home)
        if current is None:
            raise DistriQueueError(f"no stack has run in {self.home.path}")
        return current

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """Base URLs of the gateways, without `/api`."""
        return tuple(each.url for each in self.state.of(Role.GATEWAY) if each.url)

    @property
    def orchestrator_urls(self) -> tuple[str, ...]:
        """Base URLs of the orchestrators, without `/api`."""
        return tuple(each.url for each in self.state.of(Role.ORCHESTRATOR) if each.url)

    @property
    def database_url(self) -> str:
        """Where Postgres is, with the password."""
        return self.state.database_url or ""

    @property
    def broker_url(self) -> str:
        """Where the broker is, with the password."""
        return self.state.broker_url or ""

    @property
    def supervisor_pid(self) -> int:
        """The process that keeps the others running."""
        return self._supervisor.pid

    def pids(self, role: Role | str) -> tuple[int, ...]:
        """Return the ids of the role's living processes, in the order of their names."""
        return tuple(
            each.process.pid for each in self.state.of(Role(role)) if each.process is not None and each.process.alive()
        )

    def replaced(self, role: Role | str, old: int, *, timeout_s: float = 20.0) -> int:
        """Wait until another process has taken the place of `old` and is ready; return its id."""
        found: list[int] = []

        def new() -> bool:
            found[:] = [
                each.process.pid
                for each in self.state.of(Role(role))
                if each.restarts and each.process and each.process.pid != old and each.state is Condition.RUNNING
            ]
            return bool(found) and old not in self.pids(role)

        self.until(new, f"a {role} in the place of process {old}", timeout_s=timeout_s)
        return found[0]

    def until(self, condition: Callable[[], bool], what: str, *, timeout_s: float = 20.0) -> None:
        """Wait for a condition, looking again and again; DistriQueueError says what did not come."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise DistriQueueError(f"{what}: not within {timeout_s:g} s; {self.state}")
            time.sleep(_POLL_S)

    def log(self, name: str, count: int = 1000) -> str:
        """Return the end of the log of one process, by its name such as `worker1`."""
        return "\n".join(last_lines(self.home.log_of(name), count))

    def stop(self) -> None:
        """Drain and stop everything; return when no process is left."""
        control.stop(self.home, announce=_quiet)
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
        self._supervisor.wait(30.0)


def _quiet(_text: str) -> None:
    """Tests read the state, not the steps."""
