"""What a leader keeps for one term: acknowledged heartbeats, the lease they grant, and a transfer under way."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.raft.config import Config

NEVER = -math.inf


class HeartbeatLedger:
    """Send times by round, and each peer's newest acknowledged round. Times are the leader's own clock."""

    __slots__ = ("_acked_seq", "_heard_at", "_keep_s", "_needed", "_sent_at", "_sent_by_seq")

    def __init__(self, peers: Sequence[str], quorum: int, keep_s: float, now: float) -> None:
        self._needed = quorum - 1  # the leader itself is always part of the quorum
        self._keep_s = keep_s
        self._sent_by_seq: dict[int, float] = {}
        self._acked_seq = dict.fromkeys(peers, -1)
        # For the lease nobody acknowledged anything yet; for CheckQuorum the votes were a sign of life.
        self._sent_at = dict.fromkeys(peers, NEVER)
        self._heard_at = dict.fromkeys(peers, now)

    def sent(self, seq: int, now: float) -> None:
        """Notes a round sent now, and forgets those too old to matter."""
        rounds = self._sent_by_seq
        rounds[seq] = now
        for old_seq in list(rounds):
            if rounds[old_seq] >= now - self._keep_s:
                break
            del rounds[old_seq]

    def acked(self, peer: str, seq: int, now: float) -> bool:
        """Notes an acknowledgement; false if its round is unknown or not newer than the peer's last."""
        sent_at = self._sent_by_seq.get(seq)
        if sent_at is None or seq <= self._acked_seq[peer]:
            return False
        self._acked_seq[peer] = seq
        self._sent_at[peer] = sent_at
        self._heard_at[peer] = now
        return True

    def quorum_sent_at(self) -> float:
        """When the quorum-th newest acknowledged heartbeat was sent; -inf if a quorum never answered."""
        if self._needed == 0:
            return max(self._sent_by_seq.values(), default=NEVER)
        return sorted(self._sent_at.values(), reverse=True)[self._needed - 1]

    def quorum_heard_at(self, now: float) -> float:
        """When the quorum-th newest acknowledgement came in."""
        if self._needed == 0:
            return now
        return sorted(self._heard_at.values(), reverse=True)[self._needed - 1]

    def freshest_peers(self) -> list[str]:
        """Peers, most recently heard first."""
        return sorted(self._heard_at, key=self._heard_at.__getitem__, reverse=True)


class Leadership:
    """One term in office. It ends with the role, so nothing of it can leak into another term."""

    __slots__ = (
        "_config",
        "_heartbeat_due",
        "_lease_void",
        "_ledger",
        "_transfer_due",
        "lease_until",
        "transfer_target",
    )

    def __init__(self, peers: Sequence[str], quorum: int, config: Config, now: float) -> None:
        self._config = config
        self._ledger = HeartbeatLedger(peers, quorum, config.election_timeout_max_s, now)
        self._heartbeat_due = NEVER
        self._lease_void = False
        self._transfer_due = math.inf
        self.lease_until = NEVER
        self.transfer_target: str | None = None

    def is_heartbeat_due(self, now: float) -> bool:
        """Whether it is time for the next round."""
        return now >= self._heartbeat_due

    def heartbeat_sent(self, seq: int, now: float) -> None:
        """Notes a round of heartbeats sent now."""
        self._ledger.sent(seq, now)
        # Half a tick early, so that a tick that comes a hair too soon does not cost a whole one.
        self._heartbeat_due = now + self._config.heartbeat_s - self._config.tick_s / 2
        self._extend_lease()  # a single node is its own quorum; for others this changes nothing

    def heartbeat_acked(self, peer: str, seq: int, now: float) -> None:
        """Notes a peer's answer to a round."""
        if self._ledger.acked(peer, seq, now):
            self._extend_lease()

    def has_quorum(self, now: float) -> bool:
        """CheckQuorum: whether a quorum was heard within one minimum election timeout (Ongaro 2014 §6.2)."""
        return now - self._ledger.quorum_heard_at(now) < self._config.election_timeout_min_s

    def freshest_peers(self) -> list[str]:
        """Peers, most recently heard first."""
        return self._ledger.freshest_peers()

    def start_transfer(self, target: str, now: float) -> None:
        """Voids the lease for the rest of the term: `timeout_now` may arrive at any time from here on."""
        self.transfer_target = target
        self._transfer_due = now + self._config.election_timeout_min_s
        self._lease_void = True
        self.lease_until = NEVER

    def is_spent(self, now: float) -> bool:
        """Runs the transfer's timer: first it aborts, and true once no other try followed in the same time again."""
        if now < self._transfer_due:
            return False
        if self.transfer_target is None:
            return True
        self.transfer_target = None
        self._transfer_due = now + self._config.election_timeout_min_s
        return False

    def _extend_lease(self) -> None:
        if not self._lease_void:
            self.lease_until = self._ledger.quorum_sent_at() + self._config.lease_s
