"""The invariants S1 to S8 of the design, checked on what nodes show to the outside, and L1 at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.raft import HardState, Message, MessageType, Role

if TYPE_CHECKING:
    from tests.simulation.node import SimNode
    from tests.simulation.world import World


_SCHEDULER_LAG_S = 3.5  # two of the longest duties in a row, and the waits between


class InvariantViolation(AssertionError):
    """An invariant of leadership.md does not hold."""


class Checks:
    """Keeps its own books, from messages, disks, announcements and commits, and raises on the first violation."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._leader_of_term: dict[int, tuple[str, str]] = {}
        self._vote_of: dict[tuple[str, int], str] = {}
        self._shown_term: dict[str, int] = {}
        self._owner_of_epoch: dict[int, tuple[str, str]] = {}
        self._newest_epoch = 0
        self._fired: set[int] = set()

    def fail(self, invariant: str, what: str) -> None:
        """Raises."""
        raise InvariantViolation(f"{invariant} at {self._world.now_s:.4f} s: {what}")

    def sent(self, node: SimNode, message: Message) -> None:
        """S2: nothing leaves before it is durable, no term goes back, one vote per term."""
        if self._world.mix.forgets:
            return
        disk: HardState = node.disk
        if message.type is MessageType.PREVOTE_RESP and message.ok:
            return  # repeats the proposed term, which is nobody's yet
        shown_term = message.term - 1 if message.type is MessageType.PREVOTE else message.term
        if shown_term > disk.term:
            self.fail("S2", f"{node.id} shows term {shown_term} but its disk has {disk.term}")
        self._show_term(node.id, shown_term)
        candidate = None
        if message.type is MessageType.VOTE:
            candidate = node.id
        elif message.type is MessageType.VOTE_RESP and message.ok:
            candidate = message.to
        if candidate is None:
            return
        if disk.term == message.term and disk.vote != candidate:
            self.fail("S2", f"{node.id} votes for {candidate} in {message.term} but its disk has {disk.vote}")
        if self._vote_of.setdefault((node.id, message.term), candidate) != candidate:
            earlier = self._vote_of[node.id, message.term]
            self.fail("S2", f"{node.id} votes for {candidate} in {message.term}, earlier for {earlier}")

    def _show_term(self, node_id: str, term: int) -> None:
        if term < self._shown_term.get(node_id, 0):
            self.fail("S2", f"{node_id} went back from term {self._shown_term[node_id]} to {term}")
        self._shown_term[node_id] = term

    def booted(self, node: SimNode) -> None:
        """S2: the term survives a crash."""
        if not self._world.mix.forgets:
            self._show_term(node.id, node.disk.term)

    def leader_announced(self, node: SimNode, term: int) -> None:
        """S1: at most one leader, and one process of it, per term."""
        me = (node.id, node.boot)
        if not self._world.mix.forgets and self._leader_of_term.setdefault(term, me) != me:
            self.fail("S1", f"{me} and {self._leader_of_term[term]} both lead term {term}")

    def lease_extended(self, node: SimNode) -> None:
        """S3: two leases can only begin to overlap when one of them grows."""
        if self._world.mix.forgets:
            return
        for other in self._world.nodes:
            if other is not node and other.core is not None and other.core.has_lease(other.clock()):
                self.fail("S3", f"{node.id} in {node.term} and {other.id} in {other.term} both hold a lease")

    def epoch_claimed(self, term: int, owner: tuple[str, str]) -> None:
        """S4: epochs grow, and one has one owner."""
        if term < self._newest_epoch:
            self.fail("S4", f"epoch went from {self._newest_epoch} back to {term}")
        if self._owner_of_epoch.setdefault(term, owner) != owner:
            self.fail("S4", f"epoch {term} of {self._owner_of_epoch[term]} claimed by {owner}")
        self._newest_epoch = term

    def duty_committed(self, term: int, slots: range) -> None:
        """S5: only the newest epoch commits. S8: a fire time fires once."""
        if term < self._newest_epoch:
            self.fail("S5", f"a duty of epoch {term} committed after the claim of {self._newest_epoch}")
        for slot in slots:
            if slot in self._fired:
                self.fail("S8", f"fire time {slot} fired twice")
            self._fired.add(slot)

    def leader_ticked(self, node: SimNode, heard_at_s: list[float]) -> None:
        """S6: a leader that just ran its timers heard a quorum within one minimum election timeout."""
        needed = node.quorum - 1
        if needed == 0:
            return
        config = self._world.config
        quorum_heard_s = sorted(heard_at_s, reverse=True)[needed - 1]
        silent_s = node.clock() - quorum_heard_s
        if silent_s > config.election_timeout_min_s + config.tick_s:
            self.fail("S6", f"{node.id} leads term {node.term} though no quorum answered for {silent_s:.3f} s")

    def candidate(self, node: SimNode, asked_at_s: float) -> None:
        """S7: no term is raised while a quorum has had the same leader since this node began to ask."""
        if self._world.mix.forgets:
            return
        for leader in self._world.nodes:
            if leader is node or leader.core is None or leader.core.role is not Role.LEADER:
                continue
            loyal = [other.id for other in self._world.nodes if other.is_loyal_to(leader, asked_at_s)]
            if node.id not in loyal and len(loyal) >= node.quorum:
                self.fail("S7", f"{node.id} raises the term to {node.term} though {loyal} follow {leader.id}")

    def healed(self) -> SimNode:
        """L1: there is one established leader that everybody follows. Returns it."""
        leaders = [node for node in self._world.nodes if node.is_established()]
        if len(leaders) != 1:
            roles = [f"{node.id} {node.core.role if node.core else 'down'} {node.term}" for node in self._world.nodes]
            self.fail("L1", f"{len(leaders)} established leaders after healing: {roles}")
        return leaders[0]

    def still_leads(self, leader: SimNode, term: int) -> None:
        """L1: no term change once healed; S8: nothing that was due is missing."""
        terms = {node.term for node in self._world.nodes}
        if not leader.is_established() or terms != {term}:
            self.fail("L1", f"term {term} of {leader.id} did not last: {terms}")
        missing = [slot for slot in range(self._world.due_slot_count(_SCHEDULER_LAG_S)) if slot not in self._fired]
        if missing:
            self.fail("S8", f"fire times {missing} never fired")
