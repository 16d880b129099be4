"""The frames written by hand are those that the client library would write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.frame import unmarshal
from pamqp.header import ContentHeader

from distriqueue.broker.rabbitmq_frames import PublishWriter, as_one_write, settle_frames, settle_plan


def _read(data: bytes) -> list[object]:
    frames: list[object] = []
    while data:
        size_bytes, channel, frame = unmarshal(data)
        assert channel == 7
        frames.append(frame)
        data = data[size_bytes:]
    return frames


@pytest.mark.parametrize("size_bytes", [0, 1, 99, 100, 101, 250])
def test_a_publish_is_read_back_as_it_was_meant(size_bytes: int) -> None:
    writer = PublishWriter(channel_number=7, exchange="jobs.exchange", max_body_bytes=100)
    body = bytes(n % 256 for n in range(size_bytes))
    method, header, *bodies = _read(as_one_write(writer.frames("job.high", body, message_id="12345")).payload)
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == ("jobs.exchange", "job.high", True)
    assert isinstance(header, ContentHeader)
    properties = header.properties
    assert header.body_size == size_bytes
    assert (properties.content_type, properties.delivery_mode, properties.message_id) == (
        "application/json",
        2,
        "12345",
    )
    pieces = [frame.value for frame in bodies if isinstance(frame, ContentBody)]
    assert b"".join(pieces) == body
    assert all(len(piece) <= 100 for piece in pieces)


@pytest.mark.parametrize("upto", [None, 5, 2**40])
def test_acks_and_nacks_are_read_back_as_they_were_meant(upto: int | None) -> None:
    acks = _read(as_one_write(settle_frames(7, upto, [6, 9], requeue=False)).payload)
    nacks = _read(as_one_write(settle_frames(7, upto, [6, 9], requeue=True)).payload)
    plan = [(6, False), (9, False)] if upto is None else [(upto, True), (6, False), (9, False)]
    assert [type(each) for each in acks] == [commands.Basic.Ack] * len(plan)
    assert [type(each) for each in nacks] == [commands.Basic.Nack] * len(plan)
    for frames in (acks, nacks):
        settles = [each for each in frames if isinstance(each, commands.Basic.Ack | commands.Basic.Nack)]
        assert [(each.delivery_tag, each.multiple) for each in settles] == plan
    assert all(each.requeue for each in nacks if isinstance(each, commands.Basic.Nack))


@given(st.sets(st.integers(1, 30)), st.lists(st.integers(1, 40)))
def test_a_settle_plan_tells_the_broker_exactly_what_was_asked(outstanding: set[int], asked: list[int]) -> None:
    unsettled = dict.fromkeys(sorted(outstanding))
    upto, singles = settle_plan(unsettled, asked)
    by_multiple = {tag for tag in outstanding if upto is not None and tag <= upto}
    assert by_multiple.isdisjoint(singles)
    assert len(singles) == len(set(singles))
    assert by_multiple | set(singles) == outstanding & set(asked)
    assert set(unsettled) == outstanding - set(asked)
    assert list(unsettled) == sorted(unsettled)


def test_a_row_of_acks_is_one_frame() -> None:
    unsettled = dict.fromkeys(range(1, 101))
    assert settle_plan(unsettled, range(1, 91)) == (90, [])
    assert settle_plan(unsettled, [92, 95]) == (None, [92, 95])
    assert settle_plan(unsettled, [91, 93]) == (93, [])
    assert list(unsettled) == [94, 96, 97, 98, 99, 100]
