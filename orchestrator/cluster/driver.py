"""The loop around the pure core, always in the same order: persist, fsync, send or answer, announce the role."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from distriqueue.telemetry import get_logger
from orchestrator.cluster.contacts import Contacts
from orchestrator.cluster.listener import Busy
from orchestrator.cluster.office import Office, Verdict
from orchestrator.cluster.storage import NoSpace, Storage
from orchestrator.cluster.wire import ANSWERS
from orchestrator.raft import Config, HardState, Message, RaftCore, Ready, Role

log = get_logger("election")

MAX_INBOX: Final = 1024
STALL_TICKS: Final = 3
"""This process was away for so long: what came meanwhile is still in the sockets, and is read before the timers run."""

Input = Callable[[RaftCore, float], None]
NewCore = Callable[[HardState, float], RaftCore]
_Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class View:
    """What was announced last; replaced whole, so any thread may read it."""

    role: Role = Role.FOLLOWER
    term: int = 0
    vote: str | None = None
    leader: str | None = None
    lease_until: float = -math.inf
    transfer_target: str | None = None
    storage_error: str | None = None
    """Why the node cannot vote, if it cannot."""

    def leads(self, term: int, now: float) -> bool:
        """Whether work may start under this term."""
        return self.role is Role.LEADER and self.term == term and now < self.lease_until


@dataclass(slots=True)
class Counts:
    """What happened in this process."""

    elections: int = 0
    """Elections that this node stood for."""
    wins: int = 0


class Driver:
    """One node's election. Everything runs in one event loop; messages and inputs wait in a bounded inbox."""

    def __init__(
        self,
        new_core: NewCore,
        storage: Storage,
        contacts: Contacts,
        *,
        node: str,
        config: Config,
        clock: Callable[[], float],
        office: Office,
    ) -> None:
        self._new_core = new_core
        self._storage = storage
        self._contacts = contacts
        self._node = node
        self._config = config
        self._clock = clock
        self._office = office
        self._durable = storage.load()
        self._core = new_core(self._durable, clock())
        self._inbox: deque[Message | Input] = deque()
        self._filled = asyncio.Event()
        self._answers: dict[_Key, asyncio.Future[Message]] = {}
        self._in_office_since: float | None = None
        self._ticked_at = clock()
        self._had_lease = False
        self.counts = Counts()
        self.view = View(term=self._durable.term, vote=self._durable.vote)

    # Into the inbox

    async def ask(self, message: Message) -> Message | None:
        """Step a peer's message, and return its answer once it may leave; None when none is due. Busy."""
        if message.type not in ANSWERS:
            self.deliver(message)
            return None
        key = (message.from_, ANSWERS[message.type].value, message.seq)
        if key in self._answers or len(self._inbox) >= MAX_INBOX:
            raise Busy
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[key] = answer
        self.deliver(message)
        try:
            return await answer
        finally:
            del self._answers[key]

    def deliver(self, message: Message) -> None:
        """Step a message when its turn comes; dropped when too many wait, as the network might have dropped it."""
        if len(self._inbox) < MAX_INBOX:
            self.submit(message)

    def submit(self, item: Message | Input) -> None:
        """Put a message, or an input of our own, at the end of the inbox."""
        self._inbox.append(item)
        self._filled.set()

    def transfer(self, target: str | None, *, healthy_only: bool) -> None:
        """Hand over to `target`, or to the freshest peer that reaches Postgres; to any if none does and may be."""
        core, now = self._core, self._clock()
        since = now - self._config.election_timeout_min_s
        peers = core.freshest_peers()
        healthy = [peer for peer in peers if self._contacts.vitals(peer, since=since).reaches_store]
        choice = [target] if target else healthy or ([] if healthy_only else peers)
        if choice and core.transfer(choice[0], now):
            log.info("leadership_transfer", node=self._node, term=core.term, to=choice[0])

    # The loop

    async def run(self, send: Callable[[Message], None], stop: asyncio.Event) -> None:
        """Drive the core until stopped. StorageFailed ends it, and must end the process."""
        while not stop.is_set():
            await self._wait()
            now = self._clock()
            if now - self._ticked_at > STALL_TICKS * self._config.tick_s:
                await asyncio.sleep(self._config.tick_s / 2)
            await self._drain(send)
            now = self._clock()
            if now - self._ticked_at >= self._config.tick_s * 0.99:
                self._ticked_at = now
                self._core.tick(now)
                self._oversee(now)
            await self._carry_out(send)

    async def _wait(self) -> None:
        due_in_s = self._ticked_at + self._config.tick_s - self._clock()
        if not self._filled.is_set() and due_in_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_in_s):
                    await self._filled.wait()
        self._filled.clear()

    async def _drain(self, send: Callable[[Message], None]) -> None:
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, Message):
                self._core.step(item, self._clock())
            else:
                item(self._core, self._clock())
            await self._carry_out(send)

    def _oversee(self, now: float) -> None:
        """Let a leader that does not get on make room."""
        if self._core.role is not Role.LEADER or self.view.role is not Role.LEADER or self._in_office_since is None:
            return
        verdict = self._office.judge(self._core.term, now - self._in_office_since)
        if verdict is Verdict.RESIGN:
            log.warning("leadership_resigned", node=self._node, term=self._core.term, reason="not established in time")
            self._core.resign(now)
        elif verdict is Verdict.HAND_OVER and self._core.transfer_target is None:
            self.transfer(None, healthy_only=True)

    async def _carry_out(self, send: Callable[[Message], None]) -> None:
        ready = self._core.ready()
        if ready.hard_state is not None and not await self._persist(ready.hard_state):
            return
        for message in ready.messages:
            self._emit(message, send)
        self._announce(ready)
        self._core.advance()

    async def _persist(self, state: HardState) -> bool:
        """Make the term and the vote durable; False when there is no room, and nothing of it may leave."""
        try:
            await asyncio.to_thread(self._storage.save, state)
        except NoSpace as exc:
            if self.view.storage_error is None:
                log.warning("no_vote", node=self._node, term=state.term, error=exc.message)
            # As after a crash before the write: the core goes back to what the disk says, and nothing has left.
            self._core = self._new_core(self._durable, self._clock())
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(Busy())
            self._publish(storage_error=exc.message)
            return False
        if state.vote == self._node and state.term > self._durable.term:
            self.counts.elections += 1
        self._durable = state
        if self.view.storage_error is not None:
            log.info("votes_again", node=self._node)
            self._publish(storage_error=None)
        return True

    def _emit(self, message: Message, send: Callable[[Message], None]) -> None:
        if message.ok is None:
            send(message)
            return
        answer = self._answers.get((message.to, message.type.value, message.seq))
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _announce(self, ready: Ready) -> None:
        change = ready.role_change
        if change is not None:
            log.info("role_changed", node=self._node, role=change.role.value, term=change.term, leader=change.leader_id)
            leads = change.role is Role.LEADER
            if leads and (self.view.role, self.view.term) != (Role.LEADER, change.term):
                self.counts.wins += 1
                self._in_office_since = self._clock()
            elif not leads:
                self._in_office_since = None
        self._publish(storage_error=self.view.storage_error)

    def _publish(self, *, storage_error: str | None) -> None:
        former, core = self.view, self._core
        self.view = View(
            core.role, core.term, core.vote, core.leader_id, core.lease_until, core.transfer_target, storage_error
        )
        has_lease = core.has_lease(self._clock())
        same = (former.role, former.term, former.leader) == (core.role, core.term, core.leader_id)
        if not same or has_lease is not self._had_lease:
            self._had_lease = has_lease
            self._office.changed()
