"""A node as the driver runs it: persist, fsync, send, announce; then claim the epoch and do duties."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.raft import HardState, Message, MessageType, RaftCore, Ready, Role, RoleChange
from tests.simulation.database import Answer, Outcome

if TYPE_CHECKING:
    from tests.simulation.world import World

_NEVER = float("-inf")
_INBOX_BOUND = 200
_ESTABLISH_WITHIN_S = 5.0
_ANSWERS = (MessageType.VOTE_RESP, MessageType.HEARTBEAT_RESP, MessageType.PREVOTE_RESP)


class SimNode:
    """One node over all its lives; the disk and the clock outlast a crash."""

    def __init__(self, world: World, node_id: str, voters: tuple[str, ...], core_type: type[RaftCore]) -> None:
        self.world = world
        self.id = node_id
        self.voters = voters
        self.quorum = len(voters) // 2 + 1
        self.core: RaftCore | None = None
        self.disk = HardState()
        self.paused_until_s = 0.0
        self.slow_disk_until_s = 0.0
        self.database_blocked_until_s = 0.0
        self.life = 0
        self._core_type = core_type
        self._rate = 1.0 + world.rng.uniform(-1.0, 1.0) * world.mix.clock_drift
        self._offset_s = world.rng.uniform(0.0, 1000.0)
        self._writing: HardState | None = None
        self._inbox: deque[Message] = deque(maxlen=_INBOX_BOUND)
        self._established: int | None = None
        self._forget_observations()

    @property
    def boot(self) -> str:
        """The id of the current process."""
        return f"{self.id}.{self.life}"

    @property
    def term(self) -> int:
        """The current term, or the durable one while down."""
        return self.core.term if self.core else self.disk.term

    @property
    def is_idle(self) -> bool:
        """Whether the process can take an input right now."""
        return self.core is not None and self._writing is None and self.world.now_s >= self.paused_until_s

    def clock(self) -> float:
        """This node's monotonic clock."""
        return self._offset_s + self._rate * self.world.now_s

    def start(self) -> None:
        """Starts a process, unless one runs."""
        if self.core is not None:
            return
        self.world.note(self.id, "starts from", self.disk)
        rng = random.Random(self.world.rng.getrandbits(32))
        self.core = self._core_type(
            self.id, self.voters, self.disk, self.world.config, rng, self.clock(), boot=self.boot
        )
        self.world.checks.booted(self)
        self.world.after(self.world.rng.uniform(0.0, self.world.config.tick_s), self._tick, self.life)

    def crash(self, *, wipe: bool = False) -> None:
        """Ends the process; a write under way may or may not have reached the disk."""
        if self.core is None:
            return
        self.world.note(self.id, "crashes")
        if self._writing is not None and self.world.rng.random() < 0.5:
            self.disk = self._writing
        if wipe:
            self.disk = HardState()
        self._writing = None
        self._inbox.clear()
        self.core = None
        self.life += 1
        self.paused_until_s = 0.0
        self._forget_observations()

    def pause(self, duration_s: float) -> None:
        """Freezes the process; its clock goes on, its messages wait."""
        self.paused_until_s = self.world.now_s + duration_s
        self.world.at(self.paused_until_s, self._drain)

    def resume(self) -> None:
        """Ends a pause."""
        self.paused_until_s = 0.0
        self._drain()

    def deliver(self, message: Message) -> None:
        """Takes a message off the network."""
        if self.is_idle:
            self._handle(message)
        elif self.core is not None:
            self._inbox.append(message)

    def transfer(self, target: str) -> None:
        """Starts a transfer, if this node leads."""
        if self.core is not None and self.is_idle and self.core.transfer(target, self.clock()):
            self.world.note(self.id, "transfers to", target)
            self.flush()

    def flush(self) -> None:
        """Carries out what the core wants done."""
        core = self.core
        if core is None:
            return
        self._observe(core)
        ready = core.ready()
        if not ready.is_empty:
            self._persist(core, ready)

    def is_established(self) -> bool:
        """Whether this node leads, owns the epoch and may start duties."""
        core = self.core
        if core is None or core.role is not Role.LEADER:
            return False
        return self._established == core.term and core.has_lease(self.clock())

    def is_loyal_to(self, leader: SimNode, since_s: float) -> bool:
        """Whether this node supported the leader at every moment since then."""
        if self.core is None:
            return False
        if self is leader:
            return self._lease_since_s <= since_s and self.core.has_lease(self.clock())
        fresh = self.clock() - self._heard_at < self.world.config.election_timeout_min_s
        return fresh and self._follows == (leader.id, leader.term) and self._follows_since_s <= since_s

    # Inputs of the core

    def _tick(self, life: int) -> None:
        core = self.core
        if life != self.life or core is None:
            return
        self.world.after(self.world.config.tick_s / self._rate, self._tick, life)
        if self.is_idle:
            core.tick(self.clock())
            self.flush()
            if core is self.core and core.role is Role.LEADER:
                self.world.checks.leader_ticked(self, list(self._answered_at.values()))

    def _handle(self, message: Message) -> None:
        core = self.core
        if core is None:
            return
        core.step(message, self.clock())
        if message.type is MessageType.HEARTBEAT:
            self._observe_heartbeat(message, core)
        elif message.type is MessageType.HEARTBEAT_RESP:
            self._observe_answer(message, core)
        self.flush()

    def _drain(self) -> None:
        while self._inbox and self.is_idle:
            self._handle(self._inbox.popleft())

    # Outputs of the core

    def _persist(self, core: RaftCore, ready: Ready) -> None:
        if ready.hard_state is None:
            self._carry_out(core, ready)
            return
        delay_s = self.world.draw_fsync_s(self)
        if delay_s == 0.0:
            self._write(ready.hard_state)
            self._carry_out(core, ready)
        else:
            self._writing = ready.hard_state
            self.world.after(delay_s, self._synced, self.life, core, ready)

    def _synced(self, life: int, core: RaftCore, ready: Ready) -> None:
        if life != self.life or ready.hard_state is None:
            return
        if self.world.now_s < self.paused_until_s:
            self.world.at(self.paused_until_s, self._synced, life, core, ready)
            return
        self._writing = None
        self._write(ready.hard_state)
        self._carry_out(core, ready)
        self._drain()

    def _write(self, hard_state: HardState) -> None:
        self.disk = hard_state

    def _carry_out(self, core: RaftCore, ready: Ready) -> None:
        self._send_all(ready.messages)
        if ready.role_change is not None:
            self._announce(ready.role_change)
        core.advance()
        if any(message.type in _ANSWERS for message in ready.messages):
            self.world.answer_left(self)

    def _send_all(self, messages: tuple[Message, ...]) -> None:
        for message in messages:
            self.world.checks.sent(self, message)
            self.world.send(message)

    def _announce(self, change: RoleChange) -> None:
        self.world.note(self.id, change.role, "term", change.term, "leader", change.leader_id)
        self._established = None
        if change.role is Role.LEADER:
            self.world.checks.leader_announced(self, change.term)
            self._elected_at = self.clock()
            self._claim(self.life, change.term)

    # Leadership

    def _leads(self, life: int, term: int) -> bool:
        core = self.core
        return life == self.life and core is not None and core.role is Role.LEADER and core.term == term

    def _claim(self, life: int, term: int) -> None:
        if self._leads(life, term):
            reply = partial(self._answered, life, self._claimed, term)
            self.world.ask_database(self, partial(self.world.database.claim, term, (self.id, self.boot)), reply)

    def _answered(self, life: int, then: Callable[[int, Answer], None], term: int, answer: Answer) -> None:
        if life != self.life:
            return
        if self.world.now_s < self.paused_until_s:
            self.world.at(self.paused_until_s, self._answered, life, then, term, answer)
        elif self._writing is not None:
            self.world.after(0.005, self._answered, life, then, term, answer)
        elif self._leads(life, term):  # a late answer to an earlier term says nothing about this one
            then(term, answer)

    def _claimed(self, term: int, answer: Answer) -> None:
        self.world.note(self.id, "claims", term, answer)
        if self.core is None:
            return
        if answer.outcome is Outcome.DONE:
            self._established = term
            self._duty(self.life, term)
        elif answer.outcome is Outcome.REFUSED:
            self.core.observe_term(answer.epoch, self.clock())
        elif self.clock() - self._elected_at > _ESTABLISH_WITHIN_S:
            self.core.resign(self.clock())
        else:
            self.world.after(0.2, self._claim, self.life, term)
        self.flush()

    def _duty(self, life: int, term: int) -> None:
        if not self._leads(life, term) or self._established != term:
            return
        core = self.core
        slots = self.world.database.due_slots()
        if self.is_idle and core is not None and core.has_lease(self.clock()) and slots:
            rng = self.world.rng
            work_s = rng.uniform(0.2, 1.5) if rng.random() < 0.1 else rng.uniform(0.001, 0.02)
            self.world.after(work_s, self._commit, life, term, slots)
        else:
            self.world.after(0.15, self._duty, life, term)

    def _commit(self, life: int, term: int, slots: range) -> None:
        # It does not look whether it still leads: a frozen leader could not either. The fence must hold.
        if life != self.life:
            return
        if self.world.now_s < self.paused_until_s:
            self.world.at(self.paused_until_s, self._commit, life, term, slots)
            return
        reply = partial(self._answered, life, self._committed, term)
        self.world.ask_database(self, partial(self.world.database.commit_duty, term, slots), reply)

    def _committed(self, term: int, answer: Answer) -> None:
        if answer.outcome is Outcome.REFUSED and answer.epoch > term and self.core is not None:
            self.core.observe_term(answer.epoch, self.clock())
            self.flush()
        self.world.after(0.15, self._duty, self.life, term)

    # What the checks need to know

    def _forget_observations(self) -> None:
        self._established = None
        self._elected_at = _NEVER
        self._role = Role.FOLLOWER
        self._led_term = -1
        self._answered_at: dict[str, float] = {}
        self._lease_until = _NEVER
        self._lease_since_s = float("inf")
        self._asked_at_s = 0.0
        self._follows: tuple[str, int] | None = None
        self._follows_since_s = 0.0
        self._heard_at = _NEVER

    def _observe_heartbeat(self, message: Message, core: RaftCore) -> None:
        if core.leader_id != message.from_ or core.term != message.term:
            return
        now = self.clock()
        kept = now - self._heard_at < self.world.config.election_timeout_min_s
        if self._follows != (message.from_, message.term) or not kept:
            self._follows = (message.from_, message.term)
            self._follows_since_s = self.world.now_s
        self._heard_at = now

    def _observe_answer(self, message: Message, core: RaftCore) -> None:
        if core.role is Role.LEADER and message.term == core.term and message.ok:
            self._answered_at[message.from_] = self.clock()

    def _observe(self, core: RaftCore) -> None:
        role = core.role
        if role is Role.LEADER:
            self._observe_leader(core)
        elif role is Role.PRE_CANDIDATE:
            if any(message.type is MessageType.PREVOTE for message in core.ready().messages):
                self._asked_at_s = self.world.now_s
        elif role is Role.CANDIDATE and core.term > self.disk.term:
            votes = [message for message in core.ready().messages if message.type is MessageType.VOTE]
            if votes and not votes[0].force:
                asked = self._role is Role.PRE_CANDIDATE
                self.world.checks.candidate(self, self._asked_at_s if asked else self.world.now_s)
        self._role = role

    def _observe_leader(self, core: RaftCore) -> None:
        now = self.clock()
        if self._led_term != core.term:
            self._led_term = core.term
            self._answered_at = {peer: now for peer in self.voters if peer != self.id}
            self._lease_until = _NEVER
        lease_until = core.lease_until
        if lease_until > self._lease_until and lease_until > now:
            if self._lease_until <= now:
                self._lease_since_s = self.world.now_s
            self.world.checks.lease_extended(self)
        self._lease_until = lease_until
