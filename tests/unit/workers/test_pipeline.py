"""How much is claimed ahead, and what is remembered."""

from distriqueue.core.job import new_job_id
from workers.runtime.pipeline import ClaimAhead, deepest
from workers.runtime.recent import RecentAttempts


def test_nothing_ahead_until_measured() -> None:
    assert ClaimAhead(10).depth == 0


def test_short_jobs_are_claimed_ahead_up_to_the_bound() -> None:
    ahead = ClaimAhead(10)
    ahead.claimed(0.010)
    ahead.ended(0.0)
    assert ahead.depth == deepest(10)


def test_as_many_ahead_as_end_during_a_claim() -> None:
    ahead = ClaimAhead(10)
    ahead.claimed(0.010)
    ahead.ended(0.020)
    assert ahead.depth == 5


def test_one_long_job_ends_claiming_ahead() -> None:
    ahead = ClaimAhead(10)
    ahead.claimed(0.010)
    ahead.ended(0.001)
    ahead.ended(60.0)
    assert ahead.depth <= 1


def test_a_single_slot_holds_one_more_unless_its_jobs_are_shorter_than_claims() -> None:
    ahead = ClaimAhead(1)
    ahead.claimed(0.010)
    ahead.ended(0.010)
    assert ahead.depth == 1
    ahead = ClaimAhead(1)
    ahead.claimed(0.010)
    ahead.ended(0.001)
    assert ahead.depth == deepest(1) == 4


def test_recent_attempts_are_bounded_and_tell_attempts_apart() -> None:
    recent = RecentAttempts(limit=2)
    first, second, third = new_job_id(), new_job_id(), new_job_id()
    for job_id in (first, second, third):
        recent.add((job_id, 1))
    assert len(recent) == 2
    assert (first, 1) not in recent
    assert (third, 1) in recent
    assert (third, 2) not in recent
