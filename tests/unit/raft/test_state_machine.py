"""Hypothesis drives a few cores through any order of inputs, losses and crashes, and looks for a broken rule."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.raft import HardState, Message, MessageType, RaftCore, Role
from tests.unit.raft.cores import CONFIG

_PICK = st.integers(min_value=0, max_value=10_000)


class Election(RuleBasedStateMachine):
    """Cores on one clock, with a bag of messages in flight that may come in any order, twice or never."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.cores: dict[str, RaftCore] = {}
        self.disks: dict[str, HardState] = {}
        self.in_flight: list[Message] = []
        self.leaders: dict[int, tuple[str, int]] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.lives: dict[str, int] = {}

    @initialize(node_count=st.integers(min_value=1, max_value=5), seed=_PICK)
    def start(self, node_count: int, seed: int) -> None:
        """Boots all nodes, and lets the boot wait pass."""
        self.rng = random.Random(seed)
        for node_id in "abcde"[:node_count]:
            self.disks[node_id] = HardState()
            self.lives[node_id] = 0
        for node_id in self.disks:
            self.boot(node_id)
        self.now += CONFIG.election_timeout_min_s

    def boot(self, node_id: str) -> None:
        """Starts a process from its disk."""
        rng = random.Random(self.rng.getrandbits(32))
        self.cores[node_id] = RaftCore(node_id, tuple(self.disks), self.disks[node_id], CONFIG, rng, self.now)
        self.lives[node_id] += 1

    def node(self, pick: int) -> str:
        """One of the nodes."""
        return sorted(self.disks)[pick % len(self.disks)]

    def carry_out(self, node_id: str) -> None:
        """Persists, sends and announces, checking what gets out."""
        core = self.cores[node_id]
        ready = core.ready()
        assert ready.must_sync == (ready.hard_state is not None)
        if ready.hard_state is not None:
            before = self.disks[node_id]
            assert ready.hard_state.term >= before.term
            same_term = ready.hard_state.term == before.term
            assert not (same_term and before.vote is not None and ready.hard_state.vote != before.vote)
            self.disks[node_id] = ready.hard_state
        for message in ready.messages:
            self.check_vote(message)
            if len(self.in_flight) < 200:
                self.in_flight.append(message)
        change = ready.role_change
        if change is not None and change.role is Role.LEADER:
            me = (node_id, self.lives[node_id])
            assert self.leaders.setdefault(change.term, me) == me, f"two leaders in term {change.term}"
        core.advance()
        assert core.ready().is_empty
        self.one_lease_at_a_time()

    def check_vote(self, message: Message) -> None:
        """One vote per term, and only for members."""
        assert message.to in self.disks
        assert message.to != message.from_
        candidate = None
        if message.type is MessageType.VOTE:
            candidate = message.from_
        elif message.type is MessageType.VOTE_RESP and message.ok:
            candidate = message.to
        if candidate is not None:
            assert self.votes.setdefault((message.from_, message.term), candidate) == candidate

    @rule(duration_s=st.sampled_from((0.01, 0.05, 0.15, 0.5, 0.95, 1.0, 2.0)), pick=_PICK)
    def time_passes(self, duration_s: float, pick: int) -> None:
        """Time passes, and one node runs its timers; the others stall."""
        self.now += duration_s
        self.tick(pick)

    @rule(pick=_PICK)
    def tick(self, pick: int) -> None:
        """A node runs its timers."""
        self.cores[self.node(pick)].tick(self.now)
        self.carry_out(self.node(pick))

    @rule()
    def calm(self) -> None:
        """For two ticks everything works."""
        for _ in range(2):
            self.now += CONFIG.tick_s
            for node_id in sorted(self.cores):
                self.cores[node_id].tick(self.now)
                self.carry_out(node_id)
            while self.in_flight:
                self.deliver(self.rng.randrange(len(self.in_flight)))

    @rule(pick=_PICK)
    def elect(self, pick: int) -> None:
        """A node asks for an election on a calm network."""
        self.campaign(pick)
        self.calm()

    @precondition(lambda self: self.in_flight)
    @rule(pick=_PICK)
    def deliver(self, pick: int) -> None:
        """Any message in flight arrives."""
        message = self.in_flight.pop(pick % len(self.in_flight))
        self.cores[message.to].step(message, self.now)
        self.carry_out(message.to)

    @precondition(lambda self: self.in_flight)
    @rule(pick=_PICK)
    def duplicate(self, pick: int) -> None:
        """A message in flight will arrive twice."""
        self.in_flight.append(self.in_flight[pick % len(self.in_flight)])

    @precondition(lambda self: self.in_flight)
    @rule(pick=_PICK)
    def lose(self, pick: int) -> None:
        """A message gets lost."""
        self.in_flight.pop(pick % len(self.in_flight))

    @rule(pick=_PICK)
    def campaign(self, pick: int) -> None:
        """A node is told to campaign, whatever it knows."""
        self.cores[self.node(pick)].campaign(self.now)
        self.carry_out(self.node(pick))

    @rule(pick=_PICK, to=_PICK)
    def transfer(self, pick: int, to: int) -> None:
        """A leader hands over."""
        core = self.cores[self.node(pick)]
        if core.transfer(self.node(to), self.now):
            assert not core.has_lease(self.now)
        self.carry_out(self.node(pick))

    @rule(pick=_PICK, above=st.integers(min_value=-1, max_value=3))
    def observe_term(self, pick: int, above: int) -> None:
        """A claim is refused with some epoch."""
        core = self.cores[self.node(pick)]
        epoch = core.term + above
        core.observe_term(epoch, self.now)
        assert core.term >= epoch
        assert core.role is not Role.LEADER or above < 0
        self.carry_out(self.node(pick))

    @rule(pick=_PICK)
    def resign(self, pick: int) -> None:
        """A leader gives up."""
        self.cores[self.node(pick)].resign(self.now)
        self.carry_out(self.node(pick))

    @rule(pick=_PICK)
    def restart(self, pick: int) -> None:
        """A process ends and starts again."""
        self.boot(self.node(pick))

    @precondition(lambda self: self.in_flight)
    @rule(pick=_PICK)
    def crash_before_the_write(self, pick: int) -> None:
        """A process takes a message and ends before anything of it is durable."""
        message = self.in_flight.pop(pick % len(self.in_flight))
        self.cores[message.to].step(message, self.now)
        self.boot(message.to)

    @invariant()
    def roles_are_consistent(self) -> None:
        """What a core says about itself fits together."""
        for node_id, core in self.cores.items():
            assert (core.role is Role.LEADER) == (core.leader_id == node_id)
            assert core.role is Role.LEADER or core.lease_until == float("-inf")
            assert core.role is Role.LEADER or core.transfer_target is None
            assert core.role is not Role.CANDIDATE or core.vote == node_id
            assert core.role not in {Role.PRE_CANDIDATE, Role.CANDIDATE} or core.leader_id is None
            assert core.lease_until <= self.now + CONFIG.lease_s

    @invariant()
    def one_lease_at_a_time(self) -> None:
        """S3, on one clock."""
        holders = [node_id for node_id, core in self.cores.items() if core.has_lease(self.now)]
        assert len(holders) <= 1, f"{holders} all hold a lease"


Election.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestElection = Election.TestCase
