"""Directed scenarios: schedules too unlikely for random seeds, each aimed at one rule of the election.

Each runs on a `Stage` and ends quietly on a sound core; a core without the rule runs into an invariant.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.raft import Message, MessageType, RaftCore, Role
from tests.simulation.checks import InvariantViolation
from tests.simulation.database import Answer, SimPostgres
from tests.simulation.faults import Mix
from tests.simulation.node import SimNode
from tests.simulation.world import World

_BOOTED_S = 1.12  # all nodes have started and waited for one minimum election timeout
_HOP_S = 0.001


def _calm(node_count: int) -> Mix:
    return Mix(
        node_count=node_count,
        latency_max_s=0.0,
        drop=0.0,
        duplicate=0.0,
        late=0.0,
        late_max_s=0.0,
        faults=(),
        fault_gap_s=1.0,
        aims_at_leader=0.0,
        clock_drift=0.0,
        crash_after_answer=0.0,
        misconfigured=False,
        chaos_s=0.0,
    )


class Stage(World):
    """A world without chance: links are cut, messages held and elections called by hand."""

    def __init__(
        self,
        node_count: int,
        *,
        core_type: type[RaftCore] = RaftCore,
        node_type: type[SimNode] = SimNode,
        database_type: type[SimPostgres] = SimPostgres,
    ) -> None:
        super().__init__(
            random.Random(1),
            _calm(node_count),
            core_type=core_type,
            node_type=node_type,
            database_type=database_type,
        )
        self._cut: set[str] = set()
        self._held: list[Message] = []
        self._holds: Callable[[Message], bool] = lambda _: False
        self.sent: list[Message] = []
        self.copies = 1

    def node(self, node_id: str) -> SimNode:
        """The node of that name."""
        return next(node for node in self.nodes if node.id == node_id)

    def send(self, message: Message) -> None:
        """Delivers in one hop, unless the link is cut or the message held."""
        self.sent.append(message)
        if f"{message.from_}{message.to}" in self._cut:
            return
        if self._holds(message):
            self._held.append(message)
            return
        for _ in range(self.copies):
            self.after(_HOP_S, self.node(message.to).deliver, message)

    def draw_fsync_s(self, node: SimNode) -> float:  # noqa: ARG002
        """Disks are instant."""
        return 0.0

    def cut(self, *links: str) -> None:
        """Cuts links, each given as from and to: "ab"."""
        self._cut.update(links)

    def cut_both(self, *pairs: str) -> None:
        """Cuts links both ways."""
        self.cut(*pairs, *(pair[::-1] for pair in pairs))

    def mend(self, *links: str) -> None:
        """Mends links."""
        self._cut.difference_update(links)

    def hold(self, type_: MessageType, from_: str) -> None:
        """Holds messages of a type from a node, until `release`."""
        self._holds = lambda message: message.type is type_ and message.from_ == from_

    def pass_all(self) -> None:
        """Holds no more messages; what is held stays so."""
        self._holds = lambda _: False

    def take_held(self) -> list[Message]:
        """Takes what was held off the network."""
        held, self._held = self._held, []
        return held

    def release(self) -> None:
        """Delivers what was held."""
        self.pass_all()
        for message in self.take_held():
            self.node(message.to).deliver(message)

    def run_for(self, duration_s: float) -> None:
        """Lets time pass."""
        self.run_until(self.now_s + duration_s)

    def campaign(self, node_id: str) -> None:
        """Lets a node ask for an election, and the messages travel."""
        node = self.node(node_id)
        if node.core is not None:
            node.core.campaign(node.clock())
            node.flush()
        self.run_for(0.02)

    def role(self, node_id: str) -> Role | None:
        """A node's role."""
        core = self.node(node_id).core
        return core.role if core else None

    def elect(self, node_id: str) -> None:
        """Waits for the boot and elects a node, which gets a lease."""
        self.run_until(_BOOTED_S)
        self.campaign(node_id)
        if not self.node(node_id).is_established():
            raise InvariantViolation(f"L1: {node_id} was not elected on a calm network")

    def run_to_acknowledged_heartbeat(self, leader: str) -> None:
        """Runs until the leader has just sent a round and got its answers."""
        self.sent.clear()
        while not any(message.type is MessageType.HEARTBEAT and message.from_ == leader for message in self.sent):
            if self.role(leader) is not Role.LEADER:
                raise InvariantViolation(f"L1: {leader} lost its leadership")
            self.run_for(_HOP_S)
        self.run_for(3 * _HOP_S)


def restarted_voter(stage: Stage) -> None:
    """A voter that supported a leader, restarted and forgot it, must not elect another within its lease."""
    stage.elect("a")
    stage.cut_both("ac")
    stage.run_for(1.5)
    stage.run_to_acknowledged_heartbeat("a")
    stage.cut("ab", "ba")
    stage.node("b").crash()
    stage.node("b").start()
    stage.campaign("c")
    stage.run_for(0.3)


def acknowledgement_in_transit(stage: Stage) -> None:
    """An acknowledgement that takes long must not prolong the lease beyond what the voter promised."""
    stage.elect("a")
    stage.cut_both("ac")
    stage.hold(MessageType.HEARTBEAT_RESP, "b")
    stage.run_to_acknowledged_heartbeat("a")
    stage.cut("ab")
    stage.run_for(0.8)
    stage.release()
    stage.cut("ba")
    stage.run_for(0.21)
    stage.campaign("c")
    stage.run_for(0.2)


def transfer_unnoticed(stage: Stage) -> None:
    """A leader that handed over and was cut off must not believe in its lease."""
    stage.elect("a")
    stage.run_to_acknowledged_heartbeat("a")
    stage.node("a").transfer("b")
    stage.cut_both("ab", "ac")
    stage.run_for(0.3)


def transfer_after_abort(stage: Stage) -> None:
    """`timeout_now` may arrive long after the transfer was given up."""
    stage.elect("a")
    stage.hold(MessageType.TIMEOUT_NOW, "a")
    stage.node("a").transfer("b")
    stage.run_for(1.2)
    stage.run_to_acknowledged_heartbeat("a")
    stage.cut_both("ab", "ac")
    stage.release()
    stage.run_for(0.3)


def transfer_never_arrives(stage: Stage) -> None:
    """A leader whose transfer failed has no lease, and must make way for one that has."""
    stage.elect("a")
    stage.hold(MessageType.TIMEOUT_NOW, "a")
    stage.node("a").transfer("b")
    stage.run_for(6.0)
    stage.checks.healed()


def doubled_votes(stage: Stage) -> None:
    """Two nodes of five, one of which answers everything three times, are no quorum."""
    stage.cut_both("ac", "cd", "ce", "ab", "bd", "be")
    stage.run_until(_BOOTED_S)
    stage.copies = 3
    stage.campaign("c")
    stage.copies = 1
    stage.campaign("a")


def vote_sent_before_leader_came_back(stage: Stage) -> None:
    """PreVote was granted in a lull; when the vote request arrives, the leader is back and holds a lease."""
    stage.elect("a")
    stage.cut_both("ac")
    stage.hold(MessageType.HEARTBEAT_RESP, "b")
    stage.run_to_acknowledged_heartbeat("a")
    stage.cut("ab")
    stage.run_for(0.8)
    stage.release()  # a goes on: it heard a quorum, though of an old round
    stage.run_for(0.21)
    stage.hold(MessageType.VOTE, "c")
    stage.campaign("c")
    if stage.role("c") is not Role.CANDIDATE:
        raise InvariantViolation("L1: the prevote in the lull was refused")
    stage.mend("ab")
    stage.pass_all()
    stage.run_to_acknowledged_heartbeat("a")
    stage.cut("ab", "ba")
    stage.release()
    stage.run_for(0.05)


def prevote_sent_before_leader_came_back(stage: Stage) -> None:
    """The grant of an earlier round arrives in a later one of the same term, when the leader is back."""
    stage.elect("a")
    stage.cut("ac")
    stage.hold(MessageType.HEARTBEAT_RESP, "b")
    stage.run_to_acknowledged_heartbeat("a")
    stage.cut("ab")
    stage.run_for(0.8)
    stage.release()
    stage.run_for(0.21)
    stage.hold(MessageType.PREVOTE_RESP, "b")
    stage.campaign("c")
    stage.mend("ab", "ac")
    stage.pass_all()
    stage.run_for(1.0)
    stage.cut_both("ac")
    stage.run_for(1.1)
    stage.hold(MessageType.PREVOTE, "c")
    stage.campaign("c")
    stage.release()
    stage.run_for(0.05)


def vote_of_an_earlier_candidacy(stage: Stage) -> None:
    """A vote that was won in one term does not count in the next, where the voter elected another."""
    stage.cut_both("ac", "ab")
    stage.run_until(_BOOTED_S)
    stage.hold(MessageType.VOTE_RESP, "b")
    stage.campaign("c")
    votes_of_term_1 = stage.take_held()
    stage.hold(MessageType.VOTE, "c")
    stage.campaign("c")
    stage.cut_both("bc")
    stage.mend("ab", "ba")
    stage.campaign("a")  # learns the term
    stage.campaign("a")
    if stage.role("a") is not Role.LEADER or stage.role("c") is not Role.CANDIDATE:
        raise InvariantViolation(f"L1: a is {stage.role('a')}, c is {stage.role('c')}")
    for vote in votes_of_term_1:
        stage.node("c").deliver(vote)
    stage.run_for(0.05)


def stale_leader_keeps_talking(stage: Stage) -> None:
    """Heartbeats of a lower term, from a leader that cannot hear, must not keep a node from campaigning."""
    stage.node("b").disk = type(stage.node("b").disk)(term=7)
    stage.cut_both("bc")
    stage.cut("ba")
    stage.elect("a")
    stage.sent.clear()
    stage.run_for(stage.config.election_timeout_max_s + 2 * stage.config.tick_s)
    if not any(message.type is MessageType.PREVOTE and message.from_ == "b" for message in stage.sent):
        raise InvariantViolation("L1: b was kept from campaigning by heartbeats of a lower term")


def supporter_campaigns(stage: Stage) -> None:
    """A node that just supported a leader must not elect itself, even when told to campaign."""
    stage.elect("a")
    stage.cut_both("ac")
    stage.run_for(1.5)
    stage.run_to_acknowledged_heartbeat("a")
    stage.cut_both("ab")
    stage.campaign("b")
    stage.run_for(0.2)


def claim_between_fence_and_commit(stage: Stage) -> None:
    """A claim waits for the duties that passed the fence."""

    def ignore(_: Answer) -> None:
        pass

    for term in range(1, 200):
        stage.database.claim(term, ("a", f"a.{term}"), ignore)
        stage.run_for(0.01)
        stage.database.commit_duty(term, range(term, term + 1), ignore)
        stage.after(0.0001, stage.database.claim, term + 1, ("a", f"a.{term + 1}"), ignore)
        stage.run_for(0.01)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A schedule, and the mutant that it is there to catch."""

    play: Callable[[Stage], None]
    catches: str
    node_count: int = 3


SCENARIOS = (
    Scenario(acknowledgement_in_transit, "lease from receipt time"),
    Scenario(transfer_unnoticed, "lease kept on transfer"),
    Scenario(doubled_votes, "duplicate votes counted", node_count=5),
    Scenario(restarted_voter, "no boot wait"),
    Scenario(vote_sent_before_leader_came_back, "sticky on prevote only"),
    Scenario(vote_of_an_earlier_candidacy, "votes of an old term counted"),
    Scenario(stale_leader_keeps_talking, "stale heartbeat resets the timer"),
    Scenario(supporter_campaigns, "own vote not sticky"),
    Scenario(prevote_sent_before_leader_came_back, "prevotes of an old round counted"),
    Scenario(transfer_after_abort, "lease back after an aborted transfer"),
    Scenario(transfer_never_arrives, "leads on without a lease"),
    Scenario(claim_between_fence_and_commit, "fence by a plain SELECT"),
)
