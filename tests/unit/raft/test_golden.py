"""What the literature prescribes, case by case.

§ refers to Ongaro, "Consensus: Bridging Theory and Practice" (2014); "paper" to Ongaro and Ousterhout, "In Search of
an Understandable Consensus Algorithm" (2014, extended version).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.raft import Config, HardState, Message, MessageType, RaftCore, Role
from tests.unit.raft.cores import BOOTED_S, CONFIG, MAX_S, MIN_S, accept, answer, make_core, only, request, take, win

PREVOTE, PREVOTE_RESP = MessageType.PREVOTE, MessageType.PREVOTE_RESP
VOTE, VOTE_RESP = MessageType.VOTE, MessageType.VOTE_RESP
HEARTBEAT, HEARTBEAT_RESP = MessageType.HEARTBEAT, MessageType.HEARTBEAT_RESP
TIMEOUT_NOW = MessageType.TIMEOUT_NOW


def follow(core: RaftCore, leader: str, term: int, now: float, *, seq: int = 1) -> Message:
    """Lets a core hear a leader."""
    return answer(core, request(HEARTBEAT, leader, core._id, term, seq=seq), now)


# Elections: §3.4, paper §5.2


def test_starts_as_a_follower_that_knows_no_leader() -> None:
    """§3.4: when servers start up, they begin as followers."""
    core = make_core(term=3, vote="b")
    assert (core.role, core.term, core.vote, core.leader_id) == (Role.FOLLOWER, 3, "b", None)
    assert core.ready().is_empty


@pytest.mark.parametrize("seed", range(30))
def test_campaigns_within_the_randomized_election_timeout(seed: int) -> None:
    """§3.4: election timeouts are chosen randomly from a fixed interval."""
    core = make_core(seed=seed)
    core.tick(MIN_S - 0.001)
    assert core.ready().is_empty
    core.tick(MAX_S)
    assert core.role is Role.PRE_CANDIDATE


def test_the_timeout_is_drawn_anew_each_time() -> None:
    """§3.4: each candidate restarts its randomized election timeout at the start of an election."""
    core = make_core()
    dues = set()
    for round_ in range(20):
        follow(core, "b", 1, float(round_))
        dues.add(round(core._election_due - round_, 9))
    assert len(dues) == 20
    assert min(dues) >= MIN_S
    assert max(dues) < MAX_S


def test_wins_with_a_majority_and_heartbeats_at_once() -> None:
    """§3.4: once a candidate wins, it sends heartbeats to all of the other servers to prevent new elections."""
    core = make_core()
    heartbeats = win(core, BOOTED_S)
    assert (core.role, core.term, core.leader_id) == (Role.LEADER, 1, "a")
    assert {message.to for message in heartbeats} == {"b", "c"}


def test_votes_once_per_term_first_come_first_served() -> None:
    """§3.4: each server votes for at most one candidate in a given term."""
    core = make_core()
    assert answer(core, request(VOTE, "b", "a", 5), BOOTED_S).ok
    assert not answer(core, request(VOTE, "c", "a", 5), BOOTED_S).ok
    assert answer(core, request(VOTE, "b", "a", 5), BOOTED_S).ok
    assert core.vote == "b"


def test_a_vote_survives_a_restart() -> None:
    """Paper figure 2: currentTerm and votedFor are updated on stable storage before responding."""
    core = make_core()
    core.step(request(VOTE, "b", "a", 5), BOOTED_S)
    ready = core.ready()
    assert ready.hard_state == HardState(5, "b")
    assert ready.must_sync
    restarted = make_core(term=ready.hard_state.term, vote=ready.hard_state.vote, now=BOOTED_S)
    assert not answer(restarted, request(VOTE, "c", "a", 5), BOOTED_S + MAX_S).ok


def test_granting_a_vote_restarts_the_election_timer() -> None:
    """§3.4: a follower waits as long as it grants votes or hears from a leader."""
    core = make_core()
    answer(core, request(VOTE, "b", "a", 5), BOOTED_S)
    core.tick(BOOTED_S + MIN_S - 0.001)
    assert core.role is Role.FOLLOWER


def test_two_votes_of_one_member_are_one_vote() -> None:
    """§3.4: a majority of the servers, not of the answers."""
    core = make_core(voters="abcde")
    core.campaign(BOOTED_S)
    prevote = only(take(core).messages, PREVOTE)[0]
    for _ in range(5):
        core.step(accept(prevote), BOOTED_S)
    assert core.role is Role.PRE_CANDIDATE


def test_a_candidate_follows_the_leader_of_its_term() -> None:
    """§3.4: if the leader's term is at least as large as the candidate's, the candidate returns to follower state."""
    core = make_core()
    core.campaign(BOOTED_S)
    core.step(accept(take(core).messages[0]), BOOTED_S)
    assert core.role is Role.CANDIDATE
    take(core)
    assert follow(core, "b", 1, BOOTED_S).ok
    assert (core.role, core.leader_id, core.vote) == (Role.FOLLOWER, "b", "a")


def test_a_split_vote_ends_in_another_round() -> None:
    """§3.4: if votes are split, each candidate times out and starts a new election; a refusal makes that sooner."""
    core = make_core()
    core.campaign(BOOTED_S)
    core.step(accept(take(core).messages[0]), BOOTED_S)
    (vote, _) = only(take(core).messages, VOTE)
    core.step(accept(vote, ok=False), BOOTED_S)
    core.tick(BOOTED_S + MIN_S / 2 - 0.001)
    assert core.role is Role.CANDIDATE
    core.tick(BOOTED_S + MIN_S)
    assert (core.role, core.term) == (Role.PRE_CANDIDATE, 1)


# Terms: §3.3, paper §5.1


def test_a_leader_steps_down_for_a_higher_term() -> None:
    """§3.3: if a candidate or leader discovers that its term is out of date, it reverts to follower state."""
    core = make_core()
    heartbeat = win(core, BOOTED_S)[0]
    core.step(accept(heartbeat, ok=False, term=9), BOOTED_S)
    assert (core.role, core.term, core.vote) == (Role.FOLLOWER, 9, None)


def test_a_request_of_an_old_term_is_refused_with_the_new_one() -> None:
    """§3.3: if a server receives a request with a stale term number, it rejects the request."""
    core = make_core(term=7)
    for type_ in (HEARTBEAT, VOTE, PREVOTE):
        response = answer(core, request(type_, "b", "a", 6), BOOTED_S)
        assert (response.ok, response.term) == (False, 7)


def test_a_heartbeat_of_an_old_term_does_not_touch_the_timer() -> None:
    """§3.4: only a *current* leader holds off elections."""
    core = make_core(term=7)
    due = core._election_due
    follow(core, "b", 6, 0.9)
    assert core._election_due == due
    core.tick(MAX_S)
    assert core.role is Role.PRE_CANDIDATE


def test_a_vote_of_an_earlier_term_is_not_counted() -> None:
    """§3.4: votes from a majority *for the same term*."""
    core = make_core()
    core.campaign(BOOTED_S)
    core.step(accept(take(core).messages[0]), BOOTED_S)
    old_vote = only(take(core).messages, VOTE)[0]
    core.campaign(BOOTED_S)
    core.step(accept(take(core).messages[0]), BOOTED_S)
    assert (core.role, core.term) == (Role.CANDIDATE, 2)
    core.step(accept(old_vote), BOOTED_S)
    core.step(replace(accept(old_vote), term=2), BOOTED_S)
    assert core.role is Role.CANDIDATE


def test_a_granted_prevote_is_no_vote() -> None:
    """§9.6: the pre-election decides only whether to hold an election."""
    core = make_core()
    core.campaign(BOOTED_S)
    prevote = take(core).messages[0]
    core.step(accept(prevote), BOOTED_S)
    take(core)
    core.step(accept(prevote), BOOTED_S)
    core.step(replace(accept(prevote), from_="c"), BOOTED_S)
    assert core.role is Role.CANDIDATE


def test_a_vote_is_no_prevote() -> None:
    """§9.6: an answer counts only in the phase that asked for it."""
    core = make_core()
    core.campaign(BOOTED_S)
    grant = accept(take(core).messages[0])
    core.step(replace(grant, type=VOTE_RESP, term=0), BOOTED_S)
    assert (core.role, core.term) == (Role.PRE_CANDIDATE, 0)


def test_a_grant_for_another_term_is_not_counted() -> None:
    """§9.6: a voter agrees to one term, not to an election as such."""
    core = make_core(term=4)
    core.campaign(BOOTED_S)
    core.step(accept(take(core).messages[0], term=4), BOOTED_S)
    assert core.role is Role.PRE_CANDIDATE


def test_learning_a_term_does_not_postpone_the_election() -> None:
    """§3.4: only a vote granted or a current leader restarts the timer."""
    core = make_core()
    due = core._election_due
    core.step(Message(VOTE_RESP, "b", "a", 9, 1, ok=False), 0.9)
    assert (core.term, core._election_due) == (9, due)


# PreVote: §9.6


def test_prevote_changes_nothing_that_lasts() -> None:
    """§9.6: a candidate only increments its term if it first learns that a majority would grant their votes."""
    core = make_core(term=4, vote="b")
    core.campaign(BOOTED_S)
    ready = take(core)
    assert ready.hard_state is None
    assert not ready.must_sync
    assert {message.term for message in ready.messages} == {5}
    assert (core.term, core.vote) == (4, "b")


def test_granting_a_prevote_changes_nothing() -> None:
    """§9.6: the voter's state and timer stay as they are."""
    core = make_core(term=4, vote="b")
    due = core._election_due
    response = answer(core, request(PREVOTE, "c", "a", 5), BOOTED_S)
    assert (response.ok, response.term) == (True, 5)
    assert (core.term, core.vote, core._election_due) == (4, "b", due)


def test_a_partitioned_node_does_not_raise_its_term() -> None:
    """§9.6: PreVote solves the issue of a partitioned server disrupting the cluster when it rejoins."""
    core = make_core(term=4)
    for step in range(2000):
        core.tick(BOOTED_S + step * CONFIG.tick_s)
        take(core)
    assert core.term == 4
    follow(core, "b", 4, BOOTED_S + 101)
    assert (core.role, core.leader_id) == (Role.FOLLOWER, "b")


def test_a_node_that_is_behind_learns_the_term_from_the_refusal() -> None:
    """§9.6 with §3.3: the refusal of an outdated prevote carries the higher term."""
    core = make_core(term=4)
    core.campaign(BOOTED_S)
    core.step(accept(take(core).messages[0], ok=False, term=9), BOOTED_S)
    assert (core.role, core.term) == (Role.FOLLOWER, 9)


def test_a_prevote_grant_of_an_earlier_round_is_not_counted() -> None:
    """§9.6: the majority must be willing now, not the last time."""
    core = make_core()
    core.campaign(BOOTED_S)
    old_grant = accept(take(core).messages[0])
    core.campaign(BOOTED_S + 5)
    core.step(old_grant, BOOTED_S + 5)
    assert core.role is Role.PRE_CANDIDATE


def test_becoming_pre_candidate_forgets_the_leader() -> None:
    """§9.6 in etcd: a node that asks for an election no longer points clients to the old leader."""
    core = make_core()
    follow(core, "b", 1, BOOTED_S)
    core.tick(BOOTED_S + MAX_S)
    change = core.ready().role_change
    assert change is not None
    assert (change.role, change.leader_id) == (Role.PRE_CANDIDATE, None)


# Disruptive servers: §4.2.3


@pytest.mark.parametrize("type_", [PREVOTE, VOTE])
def test_a_voter_that_hears_a_leader_refuses_and_keeps_its_term(type_: MessageType) -> None:
    """§4.2.3: within the minimum election timeout of hearing from a leader it neither updates its term nor votes."""
    core = make_core()
    follow(core, "b", 1, BOOTED_S)
    response = answer(core, request(type_, "c", "a", 8), BOOTED_S + MIN_S - 0.001)
    assert (response.ok, response.term, core.term, core.leader_id) == (False, 1, 1, "b")
    assert answer(core, request(type_, "c", "a", 8), BOOTED_S + MIN_S).ok


@pytest.mark.parametrize("type_", [PREVOTE, VOTE])
def test_a_leader_with_a_lease_refuses(type_: MessageType) -> None:
    """§6.4.1: the lease relies on no other leader being elected meanwhile."""
    core = make_core()
    core.step(accept(win(core, BOOTED_S)[0]), BOOTED_S)
    assert not answer(core, request(type_, "c", "a", 8), BOOTED_S + 0.89).ok
    assert core.role is Role.LEADER
    assert answer(core, request(type_, "c", "a", 8), BOOTED_S + 0.9).ok


@pytest.mark.parametrize("type_", [PREVOTE, VOTE])
def test_a_restarted_voter_waits_one_minimum_election_timeout(type_: MessageType) -> None:
    """§6.4.1: the lease argument needs voters to keep their promise, also one that they made before a crash."""
    core = make_core(now=BOOTED_S)
    assert not answer(core, request(type_, "c", "a", 8), BOOTED_S + MIN_S - 0.001).ok
    assert answer(core, request(type_, "c", "a", 8), BOOTED_S + MIN_S).ok


def test_a_supporter_does_not_vote_for_itself_either() -> None:
    """§6.4.1: the candidate may be the one member that the leader's quorum shares with its own."""
    core = make_core()
    follow(core, "b", 1, BOOTED_S)
    core.campaign(BOOTED_S + 0.1)
    core.step(accept(take(core).messages[1]), BOOTED_S + 0.1)
    assert (core.role, core.term) == (Role.PRE_CANDIDATE, 1)


# CheckQuorum: §6.2


def test_a_leader_without_a_quorum_steps_down_in_its_term() -> None:
    """§6.2: a leader steps down if an election timeout elapses without a round of heartbeats to a majority."""
    core = make_core()
    core.step(accept(win(core, BOOTED_S)[0]), BOOTED_S + 0.01)
    core.tick(BOOTED_S + MIN_S)
    assert core.role is Role.LEADER
    core.tick(BOOTED_S + 0.01 + MIN_S)
    assert (core.role, core.term) == (Role.FOLLOWER, 1)


def test_a_repeated_acknowledgement_is_no_sign_of_life() -> None:
    """§6.2: what counts is a successful round, not one answer that the network delivers twice."""
    core = make_core()
    acknowledgement = accept(win(core, BOOTED_S)[0])
    core.step(acknowledgement, BOOTED_S)
    core.step(acknowledgement, BOOTED_S + 0.9)
    core.tick(BOOTED_S + MIN_S)
    assert core.role is Role.FOLLOWER


# Leases: §6.4.1


def test_the_lease_counts_from_the_send_time_of_the_acknowledged_heartbeat() -> None:
    """§6.4.1: once a majority acknowledged, the lease is start + election timeout / clock drift bound."""
    core = make_core()
    heartbeat = win(core, BOOTED_S)[0]
    assert not core.has_lease(BOOTED_S)
    core.step(accept(heartbeat), BOOTED_S + 0.4)
    assert core.lease_until == pytest.approx(BOOTED_S + 0.9)


def test_the_lease_needs_a_quorum_and_goes_by_its_slowest_member() -> None:
    """§6.4.1: the quorum-th newest acknowledgement decides."""
    core = make_core(voters="abcde")
    first = win(core, BOOTED_S)
    core.tick(BOOTED_S + 0.15)
    second = only(take(core).messages, HEARTBEAT)
    core.step(accept(second[0]), BOOTED_S + 0.2)
    assert not core.has_lease(BOOTED_S + 0.2)
    core.step(accept(first[1]), BOOTED_S + 0.2)
    assert core.lease_until == pytest.approx(BOOTED_S + 0.9)
    core.step(accept(second[2]), BOOTED_S + 0.2)
    assert core.lease_until == pytest.approx(BOOTED_S + 0.15 + 0.9)


def test_late_and_doubled_acknowledgements_do_not_move_the_lease() -> None:
    """§6.4.1: an old round says nothing new."""
    core = make_core()
    first = accept(win(core, BOOTED_S)[0])
    core.tick(BOOTED_S + 0.15)
    second = accept(only(take(core).messages, HEARTBEAT)[0])
    for message in (second, first, second):
        core.step(message, BOOTED_S + 0.2)
        assert core.lease_until == pytest.approx(BOOTED_S + 0.15 + 0.9)
    core.step(replace(second, seq=second.seq + 1), BOOTED_S + 0.2)
    core.step(replace(second, seq=1, from_="c"), BOOTED_S + 0.2)
    core.step(replace(second, from_="x", seq=second.seq), BOOTED_S + 0.2)
    assert core.lease_until == pytest.approx(BOOTED_S + 0.15 + 0.9)


# Transfer: §3.10


def test_timeout_now_starts_an_election_at_once_without_prevote() -> None:
    """§3.10: the target starts a new election (incrementing its term and becoming a candidate)."""
    core = make_core()
    follow(core, "b", 1, BOOTED_S)
    core.step(request(TIMEOUT_NOW, "b", "a", 1), BOOTED_S + 0.01)
    ready = take(core)
    assert ready.hard_state == HardState(2, "a")
    assert [(message.type, message.force) for message in ready.messages] == [(VOTE, True)] * 2


def test_a_transfer_passes_the_sticky_rule() -> None:
    """§4.2.3: a flag in the request permits a disruption that the leader itself asked for."""
    voter = make_core("c")
    follow(voter, "b", 1, BOOTED_S)
    assert answer(voter, request(VOTE, "a", "c", 2, force=True), BOOTED_S + 0.01).ok


def test_a_transfer_ends_the_lease_for_the_whole_term() -> None:
    """§6.4.1: a leader must drop its lease when it transfers leadership, as the target does not wait."""
    core = make_core()
    core.step(accept(win(core, BOOTED_S)[0]), BOOTED_S)
    assert core.transfer("b", BOOTED_S + 0.1)
    assert [message.to for message in take(core).messages] == ["b"]
    assert not core.has_lease(BOOTED_S + 0.1)
    now = BOOTED_S + 0.2
    while now < BOOTED_S + 0.1 + MIN_S + 0.2:
        core.tick(now)
        for message in only(take(core).messages, HEARTBEAT):
            core.step(accept(message), now)
        now += CONFIG.tick_s
    assert (core.role, core.transfer_target) == (Role.LEADER, None)
    assert not core.has_lease(now)


def test_a_failed_transfer_may_be_tried_again_and_else_ends_in_resignation() -> None:
    """§3.10: after about an election timeout the leader aborts the transfer; here it has no lease any more."""
    core = make_core()
    win(core, BOOTED_S)
    assert core.transfer("b", BOOTED_S)
    now = BOOTED_S
    while core.role is Role.LEADER and now < BOOTED_S + 10:
        now += CONFIG.tick_s
        core.tick(now)
        for message in only(take(core).messages, HEARTBEAT):
            core.step(accept(message), now)
        if core.transfer_target is None and now < BOOTED_S + 1.5 * MIN_S:
            assert core.transfer("c", now)
    assert now - BOOTED_S == pytest.approx(3 * MIN_S, abs=3 * CONFIG.tick_s)
    assert core.term == 1


def test_what_cannot_be_a_transfer_is_refused() -> None:
    """§3.10: only a leader hands over, to another member, one at a time."""
    core = make_core()
    assert not core.transfer("b", BOOTED_S)
    win(core, BOOTED_S)
    assert not core.transfer("a", BOOTED_S)
    assert not core.transfer("x", BOOTED_S)
    assert core.transfer("b", BOOTED_S)
    assert not core.transfer("c", BOOTED_S)


def test_an_outdated_timeout_now_does_nothing() -> None:
    """§3.3: a request with a stale term is rejected."""
    core = make_core(term=7)
    core.step(request(TIMEOUT_NOW, "b", "a", 6), BOOTED_S)
    assert (core.role, core.ready().is_empty) == (Role.FOLLOWER, True)


# Membership: §4


def test_a_single_node_leads_at_once() -> None:
    """§3.4: a majority of one is one."""
    core = make_core(voters="a", term=3)
    core.tick(0.0)
    ready = take(core)
    assert ready.hard_state == HardState(4, "a")
    assert ready.role_change is not None
    assert (ready.role_change.role, core.has_lease(0.5)) == (Role.LEADER, True)


def test_a_node_outside_its_voters_never_campaigns() -> None:
    """§4.2.2 lets a removed server campaign until its removal commits; here members are fixed, so it never does."""
    core = make_core("x")
    core.tick(100.0)
    core.campaign(100.0)
    core.step(request(TIMEOUT_NOW, "b", "x", 3), 100.0)
    assert (core.role, core.term, core.ready().is_empty) == (Role.FOLLOWER, 0, True)
    assert follow(core, "b", 3, 100.0).ok


@pytest.mark.parametrize(("from_", "to"), [("x", "a"), ("b", "c"), ("a", "a")])
def test_strangers_and_stray_messages_are_ignored(from_: str, to: str) -> None:
    """§4: only the members of the configuration take part."""
    core = make_core()
    for type_ in MessageType:
        core.step(Message(type_, from_, to, 9, 1, ok=True), BOOTED_S)
    assert core.ready().is_empty


# The epoch in Postgres: leadership.md, "The fence"


def test_the_next_election_is_above_the_observed_term() -> None:
    """A wiped node won term 1, but the table has epoch 7: it must not win 2."""
    core = make_core()
    win(core, BOOTED_S)
    core.observe_term(7, BOOTED_S)
    ready = take(core)
    assert (core.role, ready.hard_state) == (Role.FOLLOWER, HardState(7, None))
    win(core, BOOTED_S + 5)
    assert (core.role, core.term) == (Role.LEADER, 8)


def test_a_leader_whose_own_epoch_was_refused_steps_down() -> None:
    """Another process owns the epoch of this term: leading on would be for nothing."""
    core = make_core()
    win(core, BOOTED_S)
    core.observe_term(1, BOOTED_S)
    assert (core.role, core.term) == (Role.FOLLOWER, 1)
    core.observe_term(0, BOOTED_S)
    assert core.term == 1


def test_a_second_leader_of_the_same_term_is_not_followed() -> None:
    """Wiped disks can elect two; who owns the epoch is for the table to say, not for the louder one."""
    core = make_core()
    win(core, BOOTED_S)
    assert not follow(core, "b", 1, BOOTED_S).ok
    assert core.role is Role.LEADER
    assert follow(core, "b", 2, BOOTED_S).ok


def test_a_leader_may_resign() -> None:
    """Elected is not established: who cannot claim the epoch steps down."""
    core = make_core()
    win(core, BOOTED_S)
    core.resign(BOOTED_S)
    assert (core.role, core.term, core.leader_id) == (Role.FOLLOWER, 1, None)


# Ready and advance


def test_effects_are_repeated_until_they_are_advanced_over() -> None:
    """Inputs between `ready` and `advance` are not lost, and what was not handed out is not dropped."""
    core = make_core()
    core.step(request(VOTE, "b", "a", 5), BOOTED_S)
    first = core.ready()
    assert core.ready() == first
    core.step(request(PREVOTE, "c", "a", 6), BOOTED_S)
    core.advance()
    second = core.ready()
    assert second.hard_state is None
    assert [message.type for message in second.messages] == [PREVOTE_RESP]
    core.advance()
    core.advance()
    assert core.ready().is_empty


def test_a_message_takes_the_plain_name_of_its_type() -> None:
    """The wire carries strings."""
    assert Message("vote", "a", "b", 1, 1).type is VOTE  # type: ignore[arg-type]
    assert VOTE == "vote"
    with pytest.raises(ValueError, match="append"):
        Message("append", "a", "b", 1, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [{"tick_s": 0.0}, {"election_timeout_min_s": 0.3}, {"election_timeout_max_s": 1.0}, {"lease_fraction": 0.97}],
)
def test_timing_that_cannot_work_is_refused(bad: dict[str, float]) -> None:
    """§6.4.1: the lease must be shorter than the promise, measured by the fastest and the slowest clock."""
    with pytest.raises(ValueError, match=next(iter(bad))):
        Config(**bad)
