"""The whole way of one stack: lock, Postgres, migration, services, workers; then wait, then drain."""

import asyncio
import contextlib
import dataclasses
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from distriqueue.core.errors import DistriQueueError
from distriqueue.lifecycle import stop_signal
from distriqueue.local import keys, pids, postgres, state
from distriqueue.local.child import Program
from distriqueue.local.control import clean_up
from distriqueue.local.home import Home
from distriqueue.local.logs import Lines
from distriqueue.local.plan import Options, Raft, plan
from distriqueue.local.ports import LOOPBACK, free_block, require_free
from distriqueue.local.state import Phase, Role, StackState
from distriqueue.local.supervisor import StartFailed, Supervisor
from distriqueue.settings import PREFIX

Announce = Callable[[str], None]


async def run(options: Options, *, lines: Lines, announce: Announce) -> None:
    """Run a stack until it is told to stop, and return when everything is gone.

    Raises Conflict for a taken home or port, StartFailed or BadSetting for what did not come up, after the drain.
    """
    home = Home.at(Path(options.home))
    with home.lock():
        former = state.read(home.state)
        if former is not None:
            await asyncio.to_thread(clean_up, home, former, announce)
        require_free(options.wanted_ports(), os.environ.get(f"{PREFIX}GATEWAY_HOST") or LOOPBACK)
        stack = _Stack(home, options, lines=lines, announce=announce)
        async with _stop_requested(tied=options.tied) as stop:
            await stack.run(stop)


class _Stack:
    """One run, and what it writes into the state file."""

    def __init__(self, home: Home, options: Options, *, lines: Lines, announce: Announce) -> None:
        self._home = home
        self._options = options
        self._lines = lines
        self._announce = announce
        self._supervisor: Supervisor | None = None
        self._failure: DistriQueueError | None = None
        self._state = StackState(
            phase=Phase.STARTING,
            home=str(home.path),
            mark=secrets.token_hex(16),
            supervisor=pids.own(),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Start, wait for `stop`, drain; a start that fails is drained too."""
        self._record()
        async with asyncio.TaskGroup() as group:
            self._supervisor = Supervisor(group, lines=self._lines, announce=self._announce, changed=self._record)
            try:
                await self._until(stop, group, self._supervisor)
            finally:
                self._record(phase=Phase.STOPPING)
                await self._supervisor.drain()
        failure = self._failure
        if failure is None:
            self._record(phase=Phase.STOPPED)
            return
        failed = failure.name if isinstance(failure, StartFailed) else None
        self._record(phase=Phase.FAILED, error=failure.message, failed=failed)
        raise failure

    async def _until(self, stop: asyncio.Event, group: asyncio.TaskGroup, supervisor: Supervisor) -> None:
        starting = group.create_task(self._start(supervisor))
        stopped = group.create_task(stop.wait())
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.result():
            await stopped
        starting.cancel()
        stopped.cancel()
        await asyncio.wait((starting, stopped))

    async def _start(self, supervisor: Supervisor) -> bool:
        """Start everything; False when something did not come up, which `run` then raises."""
        try:
            await self._start_all(supervisor)
        except DistriQueueError as exc:
            self._failure = exc
            return False
        self._record(phase=Phase.READY)
        return True

    async def _start_all(self, supervisor: Supervisor) -> None:
        mark = {pids.MARK: self._state.mark}
        database_url = self._options.database_url
        if database_url is None:
            self._announce("preparing Postgres")
            cluster = await postgres.prepare(self._home)
            await supervisor.start(cluster.program(mark))
            database_url = cluster.url()
        broker_url = self._options.broker_url or database_url
        self._record(database_url=database_url, broker_url=broker_url)
        services = plan(
            self._options,
            env={**_inherited(), **mark},
            database_url=database_url,
            broker_url=broker_url,
            raft=self._raft(),
        )
        await supervisor.run(services.migrate)
        own = await keys.own_keys(self._home, database_url)
        # A process's key is the stack's own always, the webhooks' secret only if none is given.
        gateways = {f"{PREFIX}API_KEY": own.gateways.text}
        control = (_with(each, gateways) if each.role is Role.GATEWAY else each for each in services.control)
        await supervisor.start(*control)
        if services.workers:
            workers = {
                f"{PREFIX}WEBHOOK_SECRETS": self._home.webhook_secret(),
                f"{PREFIX}API_KEY": own.workers.text,
            }
            await supervisor.start(*(_with(each, workers) for each in services.workers))

    def _raft(self) -> Raft | None:
        """Return what several nodes need; their ports may be others at every start, for all start together."""
        count = self._options.orchestrators
        if count == 1:
            return None
        return Raft(free_block(count), self._home.secret("cluster.secret"), self._home.orchestrators)

    def _record(self, **changes: object) -> None:
        processes = self._supervisor.processes() if self._supervisor else ()
        self._state = dataclasses.replace(self._state, processes=processes, **changes)  # type: ignore[arg-type]
        state.write(self._home.state, self._state)


def _inherited() -> Mapping[str, str]:
    """Return the environment of the services: ours, with console logs where somebody reads them."""
    env = dict(os.environ)
    if sys.stdout.isatty():
        env.setdefault(f"{PREFIX}LOG_FORMAT", "console")
    return env


@contextlib.asynccontextmanager
async def _stop_requested(*, tied: bool) -> AsyncIterator[asyncio.Event]:
    """Yield an event that a signal to stop sets, a closed terminal, and for a tied stack the end of its input."""
    loop = asyncio.get_running_loop()
    async with stop_signal() as stop:
        loop.add_signal_handler(signal.SIGHUP, stop.set)
        if tied:
            loop.add_reader(sys.stdin.fileno(), stop.set)
        try:
            yield stop
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            if tied:
                loop.remove_reader(sys.stdin.fileno())


def _with(program: Program, own: Mapping[str, str]) -> Program:
    given = {name: value for name, value in program.env.items() if value and name == f"{PREFIX}WEBHOOK_SECRETS"}
    return dataclasses.replace(program, env={**program.env, **own, **given})
