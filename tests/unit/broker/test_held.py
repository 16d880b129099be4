"""Messages of several jobs in a consumer's hands."""

from hypothesis import given
from hypothesis import strategies as st

from distriqueue.broker.held import Held
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import Delivery


def _delivery(tag: int, part: int) -> Delivery:
    return Delivery(Dispatch(new_job_id(), 1, "test", Priority.LOW, {}, 1.0), Priority.LOW, tag, 1, part)


decisions = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4), st.booleans()), max_size=60)


@given(jobs=st.lists(st.integers(1, 4), min_size=1, max_size=5), decisions=decisions)
def test_a_message_is_told_once_when_its_last_job_is_decided(
    jobs: list[int], decisions: list[tuple[int, int, bool]]
) -> None:
    held = Held()
    open_: dict[int, set[int]] = {}
    for tag, count in enumerate(jobs, 1):
        held.add(tag, count)
        open_[tag] = set(range(count))
    released: set[int] = set()
    for tag, part, release in decisions:
        told = held.decide([_delivery(tag, part)], release=release)
        expected: tuple[list[int], list[int]] = ([], [])
        if part in open_.get(tag, ()):
            open_[tag].remove(part)
            if release:
                released.add(tag)
            if not open_[tag]:
                expected[tag in released].append(tag)
        assert told == expected
        held.forget(told[0] + told[1])
        for gone in told[0] + told[1]:
            del open_[gone]
        assert len(held) == len(open_)


def test_what_is_decided_at_once_is_told_at_once() -> None:
    held = Held()
    for tag in (1, 2, 3):
        held.add(tag, 2)
    told = held.decide([_delivery(tag, part) for tag in (1, 2, 3, 4) for part in (0, 1)], release=False)
    assert told == ([1, 2, 3], [])
    assert list(held.undecided) == [1, 2, 3], "until the broker is told"
    held.forget(told[0])
    assert not len(held)
