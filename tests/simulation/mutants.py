"""Deliberate bugs, one class each: if the suite does not catch one, the suite is not worth its time.

They reach into private parts of the core on purpose, so that the core itself needs no test hooks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.raft import HardState, Message, MessageType, RaftCore, Ready
from orchestrator.raft.leadership import NEVER
from orchestrator.raft.tally import Tally
from tests.simulation.database import SimPostgres
from tests.simulation.node import SimNode


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug in one of the parts; the others stay as they are."""

    name: str
    core_type: type[RaftCore] = RaftCore
    node_type: type[SimNode] = SimNode
    database_type: type[SimPostgres] = SimPostgres


class _SendsBeforeFsync(SimNode):
    def _persist(self, core: RaftCore, ready: Ready) -> None:
        self._send_all(ready.messages)
        super()._persist(core, replace(ready, messages=()))


class _ForgetsVotes(SimNode):
    def _write(self, hard_state: HardState) -> None:
        super()._write(HardState(hard_state.term, None))


class _LeaseFromReceipt(RaftCore):
    def _on_heartbeat_resp(self, message: Message, now: float) -> None:
        if self._leadership is not None:
            rounds = self._leadership._ledger._sent_by_seq
            if message.seq in rounds:
                rounds[message.seq] = now
        super()._on_heartbeat_resp(message, now)


class _LeaseKeptOnTransfer(RaftCore):
    def transfer(self, target: str, now: float) -> bool:
        lease_until = self.lease_until
        started = super().transfer(target, now)
        if self._leadership is not None:
            self._leadership._lease_void = False
            self._leadership.lease_until = lease_until
        return started


class _CountingTally(Tally):
    def grant(self, voter_id: str) -> None:
        self._granted.add(f"{voter_id} {len(self._granted)}")


class _CountsDuplicateVotes(RaftCore):
    def _start_round(self, type_: MessageType, term: int, now: float, *, force: bool = False) -> None:
        super()._start_round(type_, term, now, force=force)
        if self._tally is not None:
            self._tally = _CountingTally(self._tally.seq, self._id, self._quorum)


class _NoBootWait(RaftCore):
    def _is_sticky(self, now: float) -> bool:
        self._booted_at = NEVER
        return super()._is_sticky(now)


class _StickyOnPrevoteOnly(RaftCore):
    def _on_vote(self, message: Message, now: float) -> None:
        super()._on_vote(replace(message, force=True), now)


class _CountsOldVotes(RaftCore):
    def _on_vote_resp(self, message: Message, now: float) -> None:
        if message.ok and message.term < self._term and self._tally is not None:
            message = replace(message, term=self._term, seq=self._tally.seq)
        super()._on_vote_resp(message, now)


class _NoPreVote(RaftCore):
    def _become_pre_candidate(self, now: float) -> None:
        self._become_candidate(now)


class _NoCheckQuorum(RaftCore):
    def tick(self, now: float) -> None:
        if self._leadership is not None:
            heard_at = self._leadership._ledger._heard_at
            heard_at.update(dict.fromkeys(heard_at, now))
        super().tick(now)


class _StaleHeartbeatResetsTimer(RaftCore):
    def _on_heartbeat(self, message: Message, now: float) -> None:
        super()._on_heartbeat(message, now)
        if message.term < self._term:
            self._reset_election_timer(now)


class _OwnVoteNotSticky(RaftCore):
    def _accept_prevote(self, now: float) -> None:
        self._become_candidate(now)


class _CountsOldPrevotes(RaftCore):
    def _on_prevote_resp(self, message: Message, now: float) -> None:
        if message.ok and self._tally is not None:
            message = replace(message, seq=self._tally.seq)
        super()._on_prevote_resp(message, now)


class _LeaseBackAfterAbort(RaftCore):
    def tick(self, now: float) -> None:
        super().tick(now)
        if self._leadership is not None and self._leadership.transfer_target is None:
            self._leadership._lease_void = False


class _LeadsOnAfterFailedTransfer(RaftCore):
    def tick(self, now: float) -> None:
        if self._leadership is not None and self._leadership.transfer_target is None:
            self._leadership._transfer_due = float("inf")
        super().tick(now)


class _IgnoresOwnEpochRefused(RaftCore):
    def observe_term(self, term: int, now: float) -> None:
        if term > self._term:
            super().observe_term(term, now)


class _NoFence(SimPostgres):
    def _fence(self, term: int) -> bool:
        return term > 0


class _PlainSelectFence(SimPostgres):
    def _share_row(self, until_s: float) -> None:
        pass


class _ClaimsEqualEpoch(SimPostgres):
    def _may_claim(self, term: int, owner: tuple[str, str]) -> bool:
        return bool(owner) and self.epoch <= term


# The first eleven are the list in leadership.md.
MUTANTS = (
    Mutant("send before fsync", node_type=_SendsBeforeFsync),
    Mutant("vote not persisted", node_type=_ForgetsVotes),
    Mutant("lease from receipt time", core_type=_LeaseFromReceipt),
    Mutant("lease kept on transfer", core_type=_LeaseKeptOnTransfer),
    Mutant("duplicate votes counted", core_type=_CountsDuplicateVotes),
    Mutant("no boot wait", core_type=_NoBootWait),
    Mutant("sticky on prevote only", core_type=_StickyOnPrevoteOnly),
    Mutant("votes of an old term counted", core_type=_CountsOldVotes),
    Mutant("no PreVote", core_type=_NoPreVote),
    Mutant("no CheckQuorum", core_type=_NoCheckQuorum),
    Mutant("stale heartbeat resets the timer", core_type=_StaleHeartbeatResetsTimer),
    Mutant("own vote not sticky", core_type=_OwnVoteNotSticky),
    Mutant("prevotes of an old round counted", core_type=_CountsOldPrevotes),
    Mutant("lease back after an aborted transfer", core_type=_LeaseBackAfterAbort),
    Mutant("leads on without a lease", core_type=_LeadsOnAfterFailedTransfer),
    Mutant("own epoch refused and ignored", core_type=_IgnoresOwnEpochRefused),
    Mutant("no fence", database_type=_NoFence),
    Mutant("fence by a plain SELECT", database_type=_PlainSelectFence),
    Mutant("claim of an equal epoch", database_type=_ClaimsEqualEpoch),
)
