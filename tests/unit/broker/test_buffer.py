"""Buffers per lane."""

import asyncio
import time

from distriqueue.broker.buffer import LaneBuffers
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import Delivery


def _delivery(lane: Priority, tag: int) -> Delivery:
    dispatch = Dispatch(new_job_id(), 1, "test", lane, {}, 1.0)
    return Delivery(dispatch=dispatch, lane=lane, tag=tag, session=1)


async def test_lanes_are_apart_and_first_in_first_out() -> None:
    buffers = LaneBuffers((Priority.HIGH, Priority.LOW))
    for tag in (1, 2):
        buffers.put(_delivery(Priority.LOW, tag))
    buffers.put(_delivery(Priority.HIGH, 1))
    assert [buffers.waiting(lane) for lane in Priority] == [0, 1, 0, 2]
    first, second, none = (buffers.take(Priority.LOW) for _ in range(3))
    assert (first and first.tag, second and second.tag, none) == (1, 2, None)
    assert buffers.take(Priority.CRITICAL) is None
    assert [d.lane for d in buffers.drain()] == [Priority.HIGH]
    assert buffers.drain() == []


def test_the_surplus_is_of_whole_messages_the_newest_first() -> None:
    buffers = LaneBuffers((Priority.LOW,))
    for tag in (1, 2, 2, 2, 3):
        buffers.put(_delivery(Priority.LOW, tag))
    assert buffers.surplus(Priority.LOW, -1) == buffers.surplus(Priority.LOW, 0) == []
    assert [each.tag for each in buffers.surplus(Priority.LOW, 3)] == [3]
    assert buffers.surplus(Priority.LOW, 2) == [], "a message stays whole, so one that is larger stays"
    assert [each.tag for each in buffers.surplus(Priority.LOW, 3)] == [2, 2, 2]
    assert [each.tag for each in buffers.surplus(Priority.LOW, 9)] == [1]


async def test_wait_ends_with_the_first_arrival_or_its_timeout() -> None:
    buffers = LaneBuffers((Priority.HIGH,))
    assert not await buffers.wait(0)
    began_s = time.monotonic()
    asyncio.get_running_loop().call_later(0.02, buffers.put, _delivery(Priority.HIGH, 1))
    assert await buffers.wait(5)
    assert time.monotonic() - began_s < 1
    assert await buffers.wait(0)
    buffers.take(Priority.HIGH)
    assert not await buffers.wait(0.01)
