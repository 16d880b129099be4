"""The shares of the lanes, and how long a lane waits at most."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distriqueue.core.job import Priority
from workers.runtime.lanes import WEIGHTS, LaneChoice

LANES = list(Priority)
some_lanes = st.lists(st.sampled_from(LANES), min_size=1, unique=True)


def full(_lane: Priority) -> int:
    """Every lane has jobs."""
    return 1


def test_full_lanes_share_by_weight() -> None:
    choice = LaneChoice(LANES)
    counts = Counter(choice.choose(full) for _ in range(29 * 10))
    assert [counts[lane] for lane in LANES] == [160, 80, 40, 10]


@given(some_lanes, st.integers(0, 60), st.integers(1, 200))
def test_shares_hold_over_any_window_in_which_all_are_full(lanes: list[Priority], skip: int, window: int) -> None:
    choice = LaneChoice(lanes)
    for _ in range(skip):
        choice.choose(full)
    counts = Counter(choice.choose(full) for _ in range(window))
    for one in lanes:
        for other in lanes:
            apart = Fraction(counts[one], WEIGHTS[one]) - Fraction(counts[other], WEIGHTS[other])
            assert abs(apart) <= Fraction(1, WEIGHTS[one]) + Fraction(1, WEIGHTS[other])


@given(some_lanes, st.lists(st.sets(st.sampled_from(LANES)), max_size=300))
def test_no_lane_waits_longer_than_its_bound(lanes: list[Priority], offers: list[set[Priority]]) -> None:
    """Lanes come and go in any way; one that has something is served within its bound."""
    choice = LaneChoice(lanes)
    passed: Counter[Priority] = Counter()
    backlog: set[Priority] = set()
    for offer in offers:
        backlog |= offer & set(lanes)
        chosen = choice.choose(lambda lane: lane in backlog)  # noqa: B023 # called at once
        assert (chosen is None) == (not backlog)
        for lane in backlog - {chosen}:
            passed[lane] += 1
            assert passed[lane] <= choice.bound(lane)
        if chosen is not None:
            passed[chosen] = 0
            backlog.discard(chosen)


def test_the_bounds_are_those_of_the_docs() -> None:
    choice = LaneChoice(LANES)
    assert [choice.bound(lane) for lane in LANES] == [3, 5, 9, 31]


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("after", range(40))
def test_a_lane_that_is_not_saturated_is_served_at_once(lane: Priority, after: int) -> None:
    """The others are full; one that asks for less than its share is next whenever it asks."""
    choice = LaneChoice(LANES)
    others = [other for other in LANES if other is not lane]
    for _ in range(after):
        choice.choose(lambda each: each in others)
    assert lane in [choice.choose(full) for _ in range(len(others) + 1)]


def test_idleness_saves_up_no_credit() -> None:
    choice = LaneChoice([Priority.HIGH, Priority.LOW])
    for _ in range(1000):
        choice.choose(lambda lane: lane is Priority.LOW)
    counts = Counter(choice.choose(full) for _ in range(90))
    assert counts[Priority.LOW] in (9, 10, 11)


def test_strict_serves_the_most_urgent_only() -> None:
    choice = LaneChoice(LANES, strict=True)
    assert {choice.choose(full) for _ in range(100)} == {Priority.CRITICAL}
    assert choice.choose(lambda lane: lane is Priority.LOW) is Priority.LOW


def test_a_worker_without_lanes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one lane"):
        LaneChoice([])
