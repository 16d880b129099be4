"""The election state machine of one node."""

from __future__ import annotations

from collections.abc import Collection
from typing import assert_never

from orchestrator.raft.config import Config, Rng
from orchestrator.raft.leadership import NEVER, Leadership
from orchestrator.raft.messages import ANSWER_TO, HardState, Message, MessageType, Ready, Role, RoleChange
from orchestrator.raft.tally import Tally, quorum_size

_FIRST_SEQ_BOUND = 2.0**40  # stays exact in JSON with room for any number of rounds


class RaftCore:
    """One node's election. `now` is seconds on a monotonic clock that goes on in suspend (CLOCK_BOOTTIME).

    Build a new one at every start of the process, from the durable hard state: `now` starts the boot wait.
    """

    def __init__(  # noqa: PLR0917 - the contract names these six
        self,
        node_id: str,
        voters: Collection[str],
        hard_state: HardState,
        config: Config,
        rng: Rng,
        now: float,
        *,
        boot: str | None = None,
    ) -> None:
        self._id = node_id
        self._voters = frozenset(voters)
        self._peers = tuple(sorted(self._voters - {node_id}))
        self._is_voter = node_id in self._voters
        self._quorum = quorum_size(len(self._voters))
        self._config = config
        self._rng = rng
        self._boot = boot

        self._term = hard_state.term
        self._vote = hard_state.vote
        self._role = Role.FOLLOWER
        self._leader_id: str | None = None
        self._heard_at = NEVER
        self._booted_at = now
        self._seq = int(rng.uniform(0.0, _FIRST_SEQ_BOUND))
        self._tally: Tally | None = None  # while campaigning
        self._leadership: Leadership | None = None  # while leading
        self._election_due = now
        self._reset_election_timer(now)

        self._messages: list[Message] = []
        self._durable = hard_state
        self._announced = RoleChange(self._role, self._term, None)
        self._handed_out: tuple[int, HardState, RoleChange] | None = None

    @property
    def role(self) -> Role:
        """The current role; announced to others only after its `Ready` was carried out."""
        return self._role

    @property
    def term(self) -> int:
        """The current term."""
        return self._term

    @property
    def vote(self) -> str | None:
        """Who got this node's vote in the current term."""
        return self._vote

    @property
    def leader_id(self) -> str | None:
        """The leader of the current term, as far as known."""
        return self._leader_id

    @property
    def lease_until(self) -> float:
        """Until when this node may act as leader; -inf without a lease."""
        return self._leadership.lease_until if self._leadership else NEVER

    @property
    def transfer_target(self) -> str | None:
        """To whom leadership is being transferred."""
        return self._leadership.transfer_target if self._leadership else None

    def has_lease(self, now: float) -> bool:
        """Whether a duty may start. Safety rests on the fence in Postgres, never on this."""
        return now < self.lease_until

    def freshest_peers(self) -> list[str]:
        """A leader's peers, most recently heard first: the order in which to try a transfer."""
        return self._leadership.freshest_peers() if self._leadership else []

    # Inputs

    def tick(self, now: float) -> None:
        """Runs the timers. After a stall, step the waiting messages first."""
        if self._leadership is not None:
            self._tick_leader(self._leadership, now)
        elif now >= self._election_due:
            self.campaign(now)

    def step(self, message: Message, now: float) -> None:
        """Takes a message; one that is not from another voter to this node is dropped."""
        if message.to != self._id or message.from_ == self._id or message.from_ not in self._voters:
            return
        match message.type:
            case MessageType.HEARTBEAT:
                self._on_heartbeat(message, now)
            case MessageType.HEARTBEAT_RESP:
                self._on_heartbeat_resp(message, now)
            case MessageType.PREVOTE:
                self._on_prevote(message, now)
            case MessageType.PREVOTE_RESP:
                self._on_prevote_resp(message, now)
            case MessageType.VOTE:
                self._on_vote(message, now)
            case MessageType.VOTE_RESP:
                self._on_vote_resp(message, now)
            case MessageType.TIMEOUT_NOW:
                self._on_timeout_now(message, now)
            case _:
                assert_never(message.type)

    def campaign(self, now: float) -> None:
        """Asks for an election, starting with PreVote. Does nothing on a leader or outside the voters."""
        if self._is_voter and self._role is not Role.LEADER:
            self._become_pre_candidate(now)

    def transfer(self, target: str, now: float) -> bool:
        """Hands leadership over, voiding the lease for this term; false if impossible or under way already."""
        leadership = self._leadership
        if leadership is None or leadership.transfer_target is not None or target not in self._peers:
            return False
        leadership.start_transfer(target, now)
        self._send(MessageType.TIMEOUT_NOW, target, self._term, self._next_seq())
        return True

    def observe_term(self, term: int, now: float) -> None:
        """Takes the epoch that refused this node's claim: the next election is above it (heals wiped disks).

        A leader of that very term steps down as well, since another process owns its epoch. So pass only
        the answer to a claim for the current term.
        """
        if term > self._term or (term == self._term and self._role is Role.LEADER):
            self._become_follower(term, None, now)

    def resign(self, now: float) -> None:
        """Stops leading, in the same term: for a leader that could not establish itself."""
        if self._role is Role.LEADER:
            self._become_follower(self._term, None, now)

    # Outputs

    def ready(self) -> Ready:
        """All effects not yet advanced over; calling it again repeats them, with what came since."""
        hard_state = HardState(self._term, self._vote)
        current = RoleChange(self._role, self._term, self._leader_id)
        self._handed_out = (len(self._messages), hard_state, current)
        changed = hard_state != self._durable
        return Ready(
            hard_state=hard_state if changed else None,
            must_sync=changed,
            messages=tuple(self._messages),
            role_change=current if current != self._announced else None,
        )

    def advance(self) -> None:
        """Confirms that the last `Ready` was carried out whole."""
        if self._handed_out is None:
            return
        sent, self._durable, self._announced = self._handed_out
        del self._messages[:sent]
        self._handed_out = None

    # Messages. Each has its own rule for terms: a general "adopt the higher term" would undo PreVote
    # and the sticky rule.

    def _on_heartbeat(self, message: Message, now: float) -> None:
        stale = message.term < self._term
        # Two leaders in one term come from a wiped disk or a wrong configuration; the fence tells who owns the epoch.
        rival = message.term == self._term and self._role is Role.LEADER
        if stale or rival:
            self._answer(message, ok=False, term=self._term)
            return
        self._become_follower(message.term, message.from_, now)
        self._heard_at = now
        self._reset_election_timer(now)
        self._answer(message, ok=True, term=self._term)

    def _on_heartbeat_resp(self, message: Message, now: float) -> None:
        if message.term > self._term:
            self._become_follower(message.term, None, now)
        elif self._leadership is not None and message.term == self._term and message.ok is not False:
            self._leadership.heartbeat_acked(message.from_, message.seq, now)

    def _on_prevote(self, message: Message, now: float) -> None:
        granted = message.term > self._term and not self._is_sticky(now)
        self._answer(message, ok=granted, term=message.term if granted else self._term)

    def _on_prevote_resp(self, message: Message, now: float) -> None:
        if not message.ok and message.term > self._term:
            self._become_follower(message.term, None, now)
        elif self._role is Role.PRE_CANDIDATE and self._counts(message, self._term + 1, now):
            self._accept_prevote(now)

    def _accept_prevote(self, now: float) -> None:
        # The others may elect this node; whether it may vote for itself is up to its own sticky rule.
        if not self._is_sticky(now):
            self._become_candidate(now)

    def _on_vote(self, message: Message, now: float) -> None:
        if message.term > self._term and self._may_depose(message, now):
            self._become_follower(message.term, None, now)
        granted = message.term == self._term and self._may_vote(message, now)
        if granted:
            self._vote = message.from_
            self._reset_election_timer(now)
        self._answer(message, ok=granted, term=self._term)

    def _on_vote_resp(self, message: Message, now: float) -> None:
        if message.term > self._term:
            self._become_follower(message.term, None, now)
        elif self._role is Role.CANDIDATE and self._counts(message, self._term, now):
            self._become_leader(now)

    def _on_timeout_now(self, message: Message, now: float) -> None:
        if not self._is_voter or message.term < self._term or self._role is Role.LEADER:
            return
        if message.term > self._term:
            self._become_follower(message.term, None, now)
        self._become_candidate(now, force=True)

    # Rules

    def _is_sticky(self, now: float) -> bool:
        """Whether some leader may rely on this node's support (Ongaro 2014 §4.2.3, §6.4.1).

        After a boot it may have supported one and forgotten it.
        """
        since = now - self._config.election_timeout_min_s
        return self._heard_at > since or self._booted_at > since or self.has_lease(now)

    def _may_depose(self, message: Message, now: float) -> bool:
        """Whether a vote request of a higher term is heard at all."""
        return message.force or not self._is_sticky(now)

    def _may_vote(self, message: Message, now: float) -> bool:
        """One vote per term; it may be repeated to the same candidate, for the answer may have been lost."""
        if self._vote is not None:
            return self._vote == message.from_
        return message.force or not self._is_sticky(now)

    def _counts(self, message: Message, term: int, now: float) -> bool:
        """Counts an answer of the current round; true once a quorum granted."""
        tally = self._tally
        if tally is None or message.seq != tally.seq:
            return False
        if message.ok and message.term == term:
            tally.grant(message.from_)
        elif not message.ok and tally.refuse(message.from_):
            self._election_due = min(self._election_due, now + self._config.draw_retry_s(self._rng))
        return tally.is_won

    def _tick_leader(self, leadership: Leadership, now: float) -> None:
        if not leadership.has_quorum(now) or leadership.is_spent(now):
            self._become_follower(self._term, None, now)
        elif leadership.is_heartbeat_due(now):
            self._broadcast_heartbeat(leadership, now)

    def _broadcast_heartbeat(self, leadership: Leadership, now: float) -> None:
        seq = self._next_seq()
        leadership.heartbeat_sent(seq, now)
        for peer in self._peers:
            self._send(MessageType.HEARTBEAT, peer, self._term, seq)
        if leadership.transfer_target is not None:
            # A lost one would cost the whole abort timeout; a repeated one carries an old term and does nothing.
            self._send(MessageType.TIMEOUT_NOW, leadership.transfer_target, self._term, seq)

    # Roles

    def _become_follower(self, term: int, leader_id: str | None, now: float) -> None:
        if term > self._term:
            self._term = term
            self._vote = None
        if self._role is not Role.FOLLOWER:
            self._leave_role()
            self._role = Role.FOLLOWER
            self._reset_election_timer(now)
        self._leader_id = leader_id

    def _become_pre_candidate(self, now: float) -> None:
        self._leave_role()
        self._role = Role.PRE_CANDIDATE
        self._leader_id = None
        self._start_round(MessageType.PREVOTE, self._term + 1, now)
        if not self._peers:
            self._become_candidate(now)

    def _become_candidate(self, now: float, *, force: bool = False) -> None:
        self._leave_role()
        self._role = Role.CANDIDATE
        self._leader_id = None
        self._term += 1
        self._vote = self._id
        self._start_round(MessageType.VOTE, self._term, now, force=force)
        if not self._peers:
            self._become_leader(now)

    def _become_leader(self, now: float) -> None:
        self._leave_role()
        self._role = Role.LEADER
        self._leader_id = self._id
        self._leadership = Leadership(self._peers, self._quorum, self._config, now)
        self._broadcast_heartbeat(self._leadership, now)

    def _leave_role(self) -> None:
        self._tally = None
        self._leadership = None

    def _start_round(self, type_: MessageType, term: int, now: float, *, force: bool = False) -> None:
        seq = self._next_seq()
        self._tally = Tally(seq, self._id, self._quorum)
        self._reset_election_timer(now)
        for peer in self._peers:
            self._send(type_, peer, term, seq, force=force)

    def _reset_election_timer(self, now: float) -> None:
        # A single node has nobody to wait for.
        self._election_due = now + self._config.draw_election_timeout_s(self._rng) if self._peers else now

    # Sending

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _send(self, type_: MessageType, to: str, term: int, seq: int, *, force: bool = False) -> None:
        self._messages.append(Message(type_, self._id, to, term, seq, force=force, boot=self._boot))

    def _answer(self, request: Message, *, ok: bool, term: int) -> None:
        type_ = ANSWER_TO[request.type]
        self._messages.append(Message(type_, self._id, request.from_, term, request.seq, ok=ok, boot=self._boot))
