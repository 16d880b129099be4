"""Who leads, as the duties see it, and the leadership of a node that is alone."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from distriqueue import lifecycle
from distriqueue.core.errors import Unavailable
from distriqueue.core.retry import Uniform, backoff_s
from distriqueue.lifecycle import first_of
from distriqueue.store.leadership import LeadershipStore
from distriqueue.telemetry import get_logger

log = get_logger("leadership")

STEADY_S: Final = 10.0
"""A claim that lasted so long was a good one: the next is made without delay."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, and how long ago it was heard."""

    node: str
    last_contact_s: float | None


@dataclass(frozen=True, slots=True)
class LeadershipStatus:
    """What this node knows of the cluster, for people."""

    node: str
    role: Literal["follower", "pre_candidate", "candidate", "leader"]
    term: int
    epoch: int | None
    """The claim that this node holds."""
    leader: str | None
    established: bool
    """The leader has claimed its epoch, so its duties run."""
    peers: tuple[Peer, ...] = ()


class Leadership(Protocol):
    """Whether this node leads. That only gates the start of work: what makes it safe is the fence in Postgres."""

    def epoch(self) -> int | None:
        """Return the epoch that this node has claimed and may start work under; None: it does not lead."""

    def fenced(self, epoch: int) -> None:
        """Hear that a transaction under `epoch` was refused, so another has claimed since."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever `epoch()` begins or ceases to be None."""

    def status(self) -> LeadershipStatus:
        """Return what this node knows of the cluster."""

    async def run(self, stop: asyncio.Event) -> None:
        """Lead when it is this node's turn, until stopped."""


class SoleLeadership:
    """A node alone leads at once: it claims the epoch above the table's, and again when it was fenced."""

    def __init__(self, store: LeadershipStore, *, node: str, boot: str, rng: Uniform | None = None) -> None:
        self._store = store
        self._node = node
        self._boot = boot
        self._rng = rng or random.SystemRandom()
        self._term = 0
        self._epoch: int | None = None
        self._lost = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []

    def epoch(self) -> int | None:
        """Return the claimed epoch, None before the claim and after the fence."""
        return self._epoch

    def fenced(self, epoch: int) -> None:
        """Give the epoch up, unless a newer one was claimed meanwhile."""
        if epoch == self._epoch:
            log.warning("leadership_lost", node=self._node, epoch=epoch)
            self._set(None)
            self._lost.set()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` at every claim and loss."""
        self._watchers.append(changed)

    def status(self) -> LeadershipStatus:
        """Return the state of a cluster of one."""
        leads = self._epoch is not None
        return LeadershipStatus(
            node=self._node,
            role="leader" if leads else "candidate",
            term=self._term,
            epoch=self._epoch,
            leader=self._node if leads else None,
            established=leads,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Claim, and claim again after each loss, with backoff: two lone nodes on one database would else fight."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not stop.is_set():
            try:
                await self._claim()
            except Unavailable as exc:
                failures += 1
                log.warning("claim_failed", node=self._node, failures=failures, error=str(exc))
            else:
                claimed_at = loop.time()
                await self._until_lost(stop)
                failures = 0 if loop.time() - claimed_at >= STEADY_S else failures + 1
            if failures:
                await lifecycle.wait_for(stop, backoff_s(failures, self._rng))
        self._set(None)

    async def _claim(self) -> None:
        term = self._term + 1
        while not (result := await self._store.claim(term, node=self._node, boot=self._boot)).won:
            term = result.epoch + 1
        self._term = term
        ended = await self._store.end_others(boot=self._boot)
        log.info("leadership_claimed", node=self._node, epoch=term, connections_ended=ended)
        self._lost.clear()
        self._set(term)

    async def _until_lost(self, stop: asyncio.Event) -> None:
        while not (stop.is_set() or self._lost.is_set()):
            await first_of(stop, self._lost, timeout_s=60.0)

    def _set(self, epoch: int | None) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            for changed in self._watchers:
                changed()
