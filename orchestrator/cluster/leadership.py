"""Who leads, as the duties see it: elected, established by the claim of the epoch, in office while the lease lasts."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from distriqueue.core.errors import Conflict, StoreUnavailable, Unavailable
from distriqueue.core.retry import Uniform, backoff_s
from distriqueue.lifecycle import first_of, wait_for
from distriqueue.store.leadership import LeadershipStore
from distriqueue.telemetry import get_logger
from orchestrator.cluster.contacts import Vitals
from orchestrator.cluster.election import Election, boot_time
from orchestrator.cluster.office import Verdict
from orchestrator.raft import RaftCore, Role

log = get_logger("leadership")

ESTABLISH_S: Final = 5.0
"""An elected node that has not claimed its epoch by then makes room."""
STANDSTILL_S: Final = 10.0
"""A leader none of whose duties got on for so long hands over, if a peer reaches Postgres."""
STEADY_S: Final = 10.0
"""A claim that lasted so long was a good one: the next is made without delay."""
CLAIM_CAP_S: Final = 1.0
END_OTHERS_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, how long ago it was heard, and what it said then."""

    node: str
    last_contact_s: float | None
    url: str = ""
    reaches_store: bool | None = None


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


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened in this process, for metrics; `details` is what only `/api/raft/status` tells."""

    elections: int = 0
    wins: int = 0
    fenced: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


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

    def figures(self) -> Figures:
        """Return what happened in this process."""

    async def step_down(self, to: str | None = None) -> str:
        """Hand over, and return the new leader; raises Conflict when there is nothing to hand over, Unavailable."""

    async def run(self, stop: asyncio.Event) -> None:
        """Lead when it is this node's turn, until stopped; then hand over."""


class ClusterLeadership:
    """Claims an epoch for each term that this node wins, and gives it up with the term, the lease or the fence.

    A node alone is elected at once, and otherwise the same. `bound` is where the other nodes are heard.
    """

    def __init__(
        self,
        store: LeadershipStore,
        election: Election,
        *,
        bound: socket.socket | None,
        progressed_at: Callable[[], float],
        reaches_store: Callable[[], bool],
        rng: Uniform | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._election = election
        self._bound = bound
        self._node = election.membership.node
        self._progressed_at = progressed_at
        self._reaches_store = reaches_store
        self._rng = rng or random.SystemRandom()
        self._clock = clock
        self._held: int | None = None
        self._held_since = clock()
        self._reached_store_at = clock()
        self._leaving = False
        self._failures = 0
        self._lost_early = 0
        self._fenced = 0
        self._announced: int | None = None
        self._changed = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []

    # For the duties

    def epoch(self) -> int | None:
        """Return the claimed epoch while its term and its lease last."""
        held = self._held
        if held is None or self._leaving or not self._election.view.leads(held, boot_time()):
            return None
        return held

    def fenced(self, epoch: int) -> None:
        """Give the office up, unless a newer epoch was claimed meanwhile."""
        self._fenced += 1
        if epoch != self._held:
            return
        log.warning("leadership_fenced", node=self._node, epoch=epoch)
        self._lost_early = self._lost_early + 1 if self._clock() - self._held_since < STEADY_S else 0
        self._election.submit(lambda core, now: core.resign(now) if core.term == epoch else None)
        self._hold(None)

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever this node may begin or must cease to start work."""
        self._watchers.append(changed)

    # For people

    def status(self) -> LeadershipStatus:
        """Return what was announced last, and who was heard."""
        view, contacts, now = self._election.view, self._election.contacts, boot_time()
        if view.leader == self._node:
            established = self._held == view.term
        else:
            heard_since = now - self._election.config.election_timeout_min_s
            established = view.leader is not None and (
                contacts.vitals(view.leader, since=heard_since).epoch == view.term
            )
        urls = self._election.membership.peers
        return LeadershipStatus(
            node=self._node,
            role=view.role.value,
            term=view.term,
            epoch=self._held,
            leader=view.leader,
            established=established,
            peers=tuple(
                Peer(
                    name,
                    round(now - contact.at, 3) if contact else None,
                    urls[name],
                    contact.vitals.reaches_store if contact else None,
                )
                for name, contact in contacts.last.items()
            ),
        )

    def figures(self) -> Figures:
        """Return the counts, and the election's inner state."""
        election, view = self._election, self._election.view
        lease_s = view.lease_until - boot_time()
        return Figures(
            election.counts.elections,
            election.counts.wins,
            self._fenced,
            election.refused,
            {
                "boot": election.boot,
                "cluster": election.membership.cluster,
                "voters": sorted(election.membership.voters),
                "vote": view.vote,
                "leaseSeconds": round(lease_s, 3) if lease_s > 0 else None,
                "transferTarget": view.transfer_target,
                "storage": {"durable": view.storage_error is None, "error": view.storage_error},
            },
        )

    # In office

    async def run(self, stop: asyncio.Event) -> None:
        """Take part in elections and claim every term won, until stopped; then hand over."""
        loop = asyncio.get_running_loop()

        def changed() -> None:
            loop.call_soon_threadsafe(self._on_change)

        office = self._election.office
        office.vitals, office.judge, office.changed = self._vitals, self._judge, changed
        async with asyncio.TaskGroup() as group:
            group.create_task(self._election.run(self._bound), name="election")
            try:
                await self._lead(stop)
                self._leaving = True
                self._announce()
                if self._leads() and self._election.membership.peers:
                    await self._hand_over(None)
                self._hold(None)
            finally:
                self._election.stop()

    async def step_down(self, to: str | None = None) -> str:
        """Hand over to a peer: the named one, else the freshest that reaches Postgres."""
        peers = self._election.membership.peers
        if not self._leads():
            raise Conflict(f"{self._node} does not lead: {self._election.view.leader or 'nobody'} does")
        if not peers:
            raise Conflict(f"{self._node} is alone: there is nobody to lead in its place")
        if to is not None and to not in peers:
            raise Conflict(f"{to} is not one of {', '.join(sorted(peers))}")
        await self._hand_over(to)
        leader = self._election.view.leader
        if self._leads() or leader is None:
            raise Unavailable("no other node has taken over yet: see the cluster's status")
        return leader

    async def _lead(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._changed.clear()
            view = self._election.view
            if view.role is not Role.LEADER or view.term != self._held:
                self._hold(None)
            if view.role is Role.LEADER and self._held is None:
                await self._claim(view.term, stop)
            else:
                await first_of(stop, self._changed, timeout_s=60.0)

    async def _claim(self, term: int, stop: asyncio.Event) -> None:
        """Make the term won the epoch; where that fails, the election's judge counts the seconds."""
        if self._lost_early:  # another cluster, or a node alone, works on the same database: do not fight for it
            await wait_for(stop, backoff_s(self._lost_early, self._rng, cap_s=ESTABLISH_S / 2))
        try:
            async with asyncio.timeout(ESTABLISH_S):
                result = await self._store.claim(term, node=self._node, boot=self._election.boot)
        except (Unavailable, TimeoutError) as exc:
            self._failures += 1
            log.warning("claim_failed", node=self._node, term=term, failures=self._failures, error=str(exc))
            await first_of(stop, self._changed, timeout_s=backoff_s(self._failures, self._rng, cap_s=CLAIM_CAP_S))
            return
        self._failures = 0
        if not result.won:
            log.warning("claim_refused", node=self._node, term=term, epoch=result.epoch)
            self._election.submit(_above(term, result.epoch))
            await first_of(stop, self._changed, timeout_s=1.0)
            return
        ended = await self._end_others()
        log.info("leadership_claimed", node=self._node, epoch=term, connections_ended=ended)
        self._held_since = self._clock()
        self._hold(term)

    async def _end_others(self) -> int | None:
        try:
            async with asyncio.timeout(END_OTHERS_S):
                return await self._store.end_others(boot=self._election.boot)
        except (StoreUnavailable, TimeoutError) as exc:
            log.warning("former_leaders_not_ended", node=self._node, error=str(exc))  # the fence holds all the same
            return None

    async def _hand_over(self, to: str | None) -> None:
        """Transfer until another leads; a target that does not take over is replaced by the next one."""
        timeout_s = self._election.config.election_timeout_min_s
        deadline = self._clock() + 2 * timeout_s
        while self._clock() < deadline and self._election.view.leader in (None, self._node):
            self._changed.clear()
            if self._leads() and self._election.view.transfer_target is None:
                self._election.transfer(to)
            await wait_for(self._changed, timeout_s / 10)

    # What the election's thread asks; these only read.

    def _vitals(self) -> Vitals:
        return Vitals(self._reaches_store(), self.epoch())

    def _judge(self, term: int, in_office_s: float) -> Verdict:
        if self._leaving:
            return Verdict.STAY  # the claim was given up on purpose, and the election ends with this process
        if self._held != term:
            return Verdict.RESIGN if in_office_s > ESTABLISH_S else Verdict.STAY
        now = self._clock()
        if self._reaches_store():
            self._reached_store_at = now
        # Some duty may get on without Postgres: then it is the recording of heartbeats that tells.
        idle_s = now - max(self._held_since, min(self._progressed_at(), self._reached_store_at))
        return Verdict.HAND_OVER if idle_s > STANDSTILL_S else Verdict.STAY

    # Changes

    def _leads(self) -> bool:
        return self._election.view.role is Role.LEADER

    def _on_change(self) -> None:
        self._changed.set()
        self._announce()

    def _hold(self, epoch: int | None) -> None:
        self._held = epoch
        self._announce()

    def _announce(self) -> None:
        epoch = self.epoch()
        if epoch != self._announced:
            self._announced = epoch
            for changed in self._watchers:
                changed()


def _above(term: int, epoch: int) -> Callable[[RaftCore, float], None]:
    """Return the input that makes a refused leader of `term` be elected again above the epoch."""

    def observe(core: RaftCore, now: float) -> None:
        if core.term == term and core.role is Role.LEADER:
            core.observe_term(epoch, now)

    return observe
