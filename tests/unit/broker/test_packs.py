"""What goes into one message."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distriqueue.broker.packs import MAX_BYTES, MESSAGES, pack, unpack
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch, UnreadableDispatch


def _dispatch(lane: Priority, text: str = "") -> Dispatch:
    return Dispatch(new_job_id(), 1, "test", lane, {"text": text}, 1.0)


lanes = st.lists(st.sampled_from(tuple(Priority)), max_size=300)
texts = st.lists(st.sampled_from(("", "\n", "\u2028\r", "ü" * 9_000, "x" * MAX_BYTES)), min_size=1, max_size=4)


@given(lanes=lanes, texts=texts, most=st.integers(1, 40))
def test_all_is_said_once_in_order_and_within_bounds(lanes: list[Priority], texts: list[str], most: int) -> None:
    sent = [_dispatch(lane, texts[n % len(texts)]) for n, lane in enumerate(lanes)]
    packs = list(pack(sent, most=most))
    assert sorted(place for each in packs for place in each.places) == list(range(len(sent)))
    for each in packs:
        assert unpack(each.body) == [sent[place] for place in each.places]
        assert {sent[place].priority for place in each.places} == {each.lane}
        assert len(each.places) <= most
        assert len(each.places) == 1 or len(each.body) <= MAX_BYTES
        assert len(each.body) <= each.size_bytes
    for lane, count in Counter(lanes).items():
        mine = [each.places for each in packs if each.lane is lane]
        assert [place for places in mine for place in places] == [n for n, each in enumerate(lanes) if each is lane]
        assert len(mine) >= min(count, MESSAGES)


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(0, 16, []), (15, 16, [1] * 15), (16, 16, [2] * 8), (64, 16, [8] * 8), (200, 1, [1] * 200), (160, 5, [5] * 32)],
)
def test_messages_grow_with_the_lanes_share(count: int, most: int, sizes: list[int]) -> None:
    sent = [_dispatch(Priority.LOW) for _ in range(count)] + [_dispatch(Priority.HIGH)]
    packs = list(pack(sent, most=most))
    assert [len(each.places) for each in packs if each.lane is Priority.LOW] == sizes


def test_large_dispatches_share_a_message_as_far_as_it_goes() -> None:
    sent = [_dispatch(Priority.LOW, "x" * 20_000) for _ in range(160)]
    packs = list(pack(sent, most=16))
    assert {len(each.places) for each in packs} == {3, 1}
    assert max(len(each.body) for each in packs) <= MAX_BYTES


def test_a_payload_is_no_deeper_in_a_message_of_many() -> None:
    payload: dict[str, object] = {}
    for _ in range(198):
        payload = {"a": payload}
    deep = Dispatch(new_job_id(), 1, "test", Priority.LOW, payload, 1.0)
    assert unpack(deep.encode()) == [deep]
    [message] = list(pack([deep] * MESSAGES * 4, most=16))[:1]
    assert unpack(message.body) == [deep] * 4


@given(body=st.binary(max_size=200))
def test_no_bytes_crash_the_reader(body: bytes) -> None:
    with pytest.raises(UnreadableDispatch):
        unpack(body)


def test_white_space_around_dispatches_is_none_of_them() -> None:
    one, two = _dispatch(Priority.LOW), _dispatch(Priority.LOW)
    assert unpack(b"\n" + one.encode() + b" \r\n\t" + two.encode() + b"\r\n") == [one, two]
