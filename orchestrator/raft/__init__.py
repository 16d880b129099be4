"""Raft's election without its log: terms, votes, PreVote, CheckQuorum, leases, transfer. No I/O, no clock.

A state machine in the manner of etcd's raft. Inputs are `tick`, `step`, `campaign`, `transfer`, `observe_term`
and `resign`, each with the caller's monotonic time in seconds; the effects are collected in one `Ready`:

    core.step(message, now)          # any number of inputs; drain the inbox before the timers
    ready = core.ready()
    if ready.must_sync: write and fsync ready.hard_state
    send ready.messages, then announce ready.role_change
    core.advance()

Nothing of a `Ready` may leave the process before its hard state is durable. Inputs are allowed between `ready`
and `advance`; what they cause is in the next `Ready`. Whoever acts on leadership goes by the announced role and
`has_lease(now)`, never by `role` read between `ready` and `advance`.

What is unusual, and why:

- Nothing is replicated, so a vote has no up-to-date check: whoever asks first in a term may win it.
- A node's own vote obeys the sticky rule too. The quorum that acknowledged the leader and the quorum that votes
  share a node, and that node may be the candidate: else an explicit `campaign` would break the lease.
- An answer counts only if it echoes the `seq` of the current round. `seq` starts at random, so that a late answer
  to an earlier life of this node is not taken for a fresh one, even after its disk was wiped.
- The lease counts from the *send* time of acknowledged heartbeats, CheckQuorum from the *receipt* of new
  acknowledgements: the first is safety against other clocks, the second only asks whether a quorum is there, and
  must survive a stall of this process.
- A transfer voids the lease until the term ends, as `timeout_now` may arrive at any time later. When it fails, the
  leader may try again; one minimum election timeout later it resigns, for without a lease it is of no use.

Sources: Ongaro, "Consensus: Bridging Theory and Practice" (2014), §3.4, §3.10, §4.2.3, §6.2, §6.4.1, §9.6.
"""

from orchestrator.raft.config import Config, Rng
from orchestrator.raft.core import RaftCore
from orchestrator.raft.messages import HardState, Message, MessageType, Ready, Role, RoleChange

__all__ = ["Config", "HardState", "Message", "MessageType", "RaftCore", "Ready", "Rng", "Role", "RoleChange"]
