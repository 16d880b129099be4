"""The election in a thread of its own: a duty, a flood of heartbeats or a slow database never delays it.

The thread has its own event loop, port, connections and clock. What the rest of the process sees of it is `view`,
replaced whole; what it asks of the rest are two plain functions that only read: `vitals` and `judge`.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Callable
from typing import Final

import uvloop

from distriqueue import lifecycle
from distriqueue.core.errors import BadSetting
from orchestrator.cluster.contacts import Contacts
from orchestrator.cluster.driver import Counts, Driver, Input, View
from orchestrator.cluster.listener import Listener
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.office import Office
from orchestrator.cluster.storage import Storage
from orchestrator.cluster.transport import Transport
from orchestrator.raft import Config, HardState, RaftCore

RPC_FRACTION: Final = 0.4
"""Of the least election timeout, what one exchange may take: less than a half, so that one lost costs no leadership."""
DRAIN_S: Final = 1.0
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time() -> float:
    """Return seconds on the clock that goes on while the machine sleeps, as a lease must run out then too."""
    return time.clock_gettime(_CLOCK)


def config_of(*, heartbeat_s: float, election_timeout_s: float) -> Config:
    """Return the timing; BadSetting where it would be unsound."""
    try:
        return Config(
            tick_s=heartbeat_s / 3,
            heartbeat_s=heartbeat_s,
            election_timeout_min_s=election_timeout_s,
            election_timeout_max_s=2 * election_timeout_s,
        )
    except ValueError as exc:
        raise BadSetting(f"DISTRIQUEUE_RAFT_HEARTBEAT, DISTRIQUEUE_ELECTION_TIMEOUT: {exc}") from exc


class Election:
    """One node's part in electing a leader."""

    def __init__(self, membership: Membership, storage: Storage, config: Config, *, boot: str) -> None:
        self.membership = membership
        self.config = config
        self.boot = boot
        self.contacts = Contacts(membership.peers)
        self.office = Office()
        rng = random.SystemRandom()

        def new_core(state: HardState, now: float) -> RaftCore:
            return RaftCore(membership.node, membership.voters, state, config, rng, now, boot=boot)

        self._driver = Driver(
            new_core,
            storage,
            self.contacts,
            node=membership.node,
            config=config,
            clock=boot_time,
            office=self.office,
        )
        self._listener = Listener(
            membership,
            self._driver,
            self.contacts,
            boot=boot,
            office=self.office,
            clock=boot_time,
            answer_timeout_s=RPC_FRACTION * config.election_timeout_min_s,
        )
        self._stop_asked = False
        self._stopped = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def view(self) -> View:
        """What was announced last."""
        return self._driver.view

    @property
    def counts(self) -> Counts:
        """Elections stood for and won by this process."""
        return self._driver.counts

    @property
    def refused(self) -> dict[str, int]:
        """Requests refused, by reason."""
        return dict(self._listener.refused.items())

    def submit(self, item: Input) -> None:
        """Let the core take an input, soon; from any thread."""
        self._call(lambda: self._driver.submit(item))

    def transfer(self, target: str | None) -> None:
        """Hand over, if this node leads: to the target, else to the freshest peer, best one that reaches Postgres."""
        self.submit(lambda _core, _now: self._driver.transfer(target, healthy_only=False))

    async def run(self, bound: socket.socket | None) -> None:
        """Take part until `stop`, in a thread; what ends it early is raised here, and must end the process."""
        try:
            await asyncio.to_thread(self._main, bound)
        finally:
            self.stop()

    def stop(self) -> None:
        """Take no part any more; from any thread."""
        self._stop_asked = True
        self._call(self._stopped.set)

    def _call(self, function: Callable[[], None]) -> None:
        # Before the start nothing is owed, and after the end nothing can be done.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function)

    def _main(self, bound: socket.socket | None) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._take_part(bound))

    async def _take_part(self, bound: socket.socket | None) -> None:
        self._loop = asyncio.get_running_loop()
        stop = self._stopped
        if self._stop_asked:
            return
        opened = Transport.open(
            self.membership,
            self.contacts,
            boot=self.boot,
            office=self.office,
            clock=boot_time,
            timeout_s=RPC_FRACTION * self.config.election_timeout_min_s,
        )
        async with opened as transport, asyncio.TaskGroup() as group:
            group.create_task(self._driver.run(transport.send, stop), name="driver")
            group.create_task(transport.run(self._driver.deliver, stop), name="transport")
            if bound is not None:
                group.create_task(lifecycle.serve(self._listener, bound, stop=stop, drain_s=DRAIN_S), name="listener")
