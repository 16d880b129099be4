"""Several dispatches in one message, on either broker."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from distriqueue.broker.packs import MESSAGES, unpack
from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import Broker, Consumer, Delivery
from tests.contract.labs import Lab, collect, connected, dispatch, numbers, take_all, through_proxy, until

ALL = tuple(Priority)
MEDIUM = Priority.MEDIUM


def _dispatches(count: int, *lanes: Priority) -> list[Dispatch]:
    return [dispatch((lanes or (MEDIUM,))[n % (len(lanes) or 1)], number=n) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "sizes"), [(15, [1] * 15), (16, [2] * 8), (50, [6] * 8 + [2]), (200, [16] * 12 + [8])]
)
async def test_messages_grow_with_what_is_sent_together(lab: Lab, count: int, sizes: list[int]) -> None:
    sent = _dispatches(count)
    async with connected(lab.url) as b:
        assert await b.publish(sent) == [True] * count
        bodies = await lab.messages(MEDIUM)
    assert [len(unpack(body)) for body in bodies] == sizes
    assert [each for body in bodies for each in unpack(body)] == sent


async def test_a_message_of_one_is_what_it_always_was(lab: Lab) -> None:
    async with connected(lab.url, dispatch_pack=1) as b:
        sent = _dispatches(100)
        assert all(await b.publish(sent))
        assert [Dispatch.decode(body) for body in await lab.messages(MEDIUM)] == sent


async def test_what_other_senders_wrote_is_read(lab: Lab) -> None:
    one, two, three = _dispatches(3)
    async with connected(lab.url) as b:
        await lab.inject(MEDIUM, one.encode())
        await lab.inject(MEDIUM, two.encode() + b"\r\n" + three.encode() + b"\n")
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        assert [each.dispatch for each in await collect(consumer, 3, ack=True)] == [one, two, three]
        await until(lambda: _is_empty(b))


async def test_each_lane_keeps_its_order(lab: Lab) -> None:
    async with connected(lab.url) as b:
        assert all(await b.publish(_dispatches(300, Priority.HIGH, MEDIUM, Priority.HIGH)))
        consumer = await b.consume(ALL, prefetch=2, consumer_id="c")
        got = await collect(consumer, 300, ack=True)
    for lane in (Priority.HIGH, MEDIUM):
        mine = numbers([each for each in got if each.lane is lane])
        assert mine == [n for n in range(300) if (n % 3 == 1) is (lane is MEDIUM)]


async def test_a_message_is_gone_when_the_last_of_it_is_acked(lab: Lab) -> None:
    async with _one_pack(lab) as (b, consumer, pack):
        for each in pack[:-1]:
            await consumer.ack([each])
            await consumer.ack([each])
        assert (await b.depths())[MEDIUM].unacked > 0, "one twice is not two"
        await consumer.ack(pack[-1:])
        await until(lambda: _is_empty(b))
        assert not await consumer.wait(0.1)


async def test_what_is_given_back_goes_back_whole_and_when_the_rest_is_decided(lab: Lab) -> None:
    async with _one_pack(lab) as (b, consumer, pack):
        await consumer.pause()
        other = await b.consume(ALL, prefetch=5, consumer_id="other")
        await consumer.release(pack[2:])
        await consumer.ack(pack[:1])
        assert not await other.wait(0.3), "one of it is still being claimed"
        await consumer.ack(pack[1:2])
        again = await collect(other, len(pack), timeout_s=3)
        assert numbers(again) == numbers(pack)
        await other.ack(again)
        await until(lambda: _is_empty(b))


async def test_the_last_word_does_not_matter_if_one_was_given_back(lab: Lab) -> None:
    async with _one_pack(lab) as (b, consumer, pack):
        await consumer.release(pack[:1])
        await consumer.ack(pack[:1])
        await consumer.ack(pack[1:])
        again = await collect(consumer, len(pack), timeout_s=3, ack=True)
        assert numbers(again) == numbers(pack)
        await until(lambda: _is_empty(b))


async def test_a_pause_gives_back_what_is_at_hand_of_a_message(lab: Lab) -> None:
    async with connected(lab.url) as b:
        await _send_pack(lab)
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        [first] = await _take(consumer, 1)
        await consumer.pause()
        other = await b.consume(ALL, prefetch=5, consumer_id="other")
        assert not await other.wait(0.2)
        await consumer.ack([first])
        assert numbers(await collect(other, 4, timeout_s=3, ack=True)) == [0, 1, 2, 3]
        await until(lambda: _is_empty(b))


async def test_after_a_cut_all_of_a_half_decided_message_comes_again(lab: Lab) -> None:
    async with through_proxy(lab) as (url, network), _one_pack(lab, url) as (b, consumer, pack):
        await consumer.ack(pack[:2])
        network.cut()
        again = await collect(consumer, len(pack), timeout_s=8)
        assert numbers(again) == numbers(pack)
        assert {each.session for each in again}.isdisjoint(each.session for each in pack)
        await consumer.ack(pack)
        await consumer.release(pack)
        assert not await consumer.wait(0.2)
        await until(lambda: b.connected)
        assert (await b.depths())[MEDIUM].unacked == 1, "what came by the old session decides nothing"
        await consumer.ack(again)
        await until(lambda: _is_empty(b))


async def test_what_a_dead_consumer_had_half_claimed_comes_to_another(lab: Lab) -> None:
    async with through_proxy(lab) as (url, network), _one_pack(lab, url) as (_, doomed, pack):
        await doomed.ack(pack[:2])
        network.close()
        async with connected(lab.url) as b:
            survivor = await b.consume(ALL, prefetch=5, consumer_id="survivor")
            assert numbers(await collect(survivor, len(pack), timeout_s=10, ack=True)) == numbers(pack)
            await until(lambda: _is_empty(b))


async def test_what_is_unacked_of_a_message_brings_it_back_after_close(lab: Lab) -> None:
    async with _one_pack(lab) as (b, consumer, pack):
        await consumer.ack(pack[1:])
        await consumer.close()
        second = await b.consume(ALL, prefetch=5, consumer_id="second")
        assert numbers(await collect(second, len(pack), timeout_s=3, ack=True)) == numbers(pack)
        await until(lambda: _is_empty(b))


@pytest.mark.parametrize("line", [b"not json", b"", b'{"v": 2}'])
async def test_a_message_with_an_unreadable_line_is_dead_lettered_whole(lab: Lab, line: bytes) -> None:
    good = [each.encode() for each in _dispatches(2)]
    poison = b"\n".join((good[0], line, good[1]))
    async with connected(lab.url) as b:
        await lab.inject(MEDIUM, poison)
        await b.publish([dispatch(number=7)])
        consumer = await b.consume(ALL, prefetch=1, consumer_id="c")
        assert numbers(await collect(consumer, 1, ack=True)) == [7]

        async def is_buried() -> bool:
            return await lab.dead() == [poison]

        await until(is_buried)
        await until(lambda: _is_empty(b))


async def test_decisions_in_any_order_lose_nothing_and_keep_the_session(lab: Lab) -> None:
    rng = random.Random(3)
    acked: Counter[int] = Counter()
    sessions = set()
    async with connected(lab.url) as b:
        assert all(await b.publish(_dispatches(400, Priority.HIGH, MEDIUM)))
        consumer = await b.consume(ALL, prefetch=8, consumer_id="c")
        async with asyncio.timeout(30):
            while len(acked) < 400 or not await _is_empty(b):
                await consumer.wait(0.2)
                batch = take_all(consumer)
                sessions |= {each.session for each in batch}
                rng.shuffle(batch)
                async with asyncio.TaskGroup() as group:
                    for start in range(0, len(batch), 5):
                        some = batch[start : start + 5]
                        if rng.random() < 0.1:
                            group.create_task(consumer.release(some))
                        else:
                            acked.update(numbers(some))
                            group.create_task(consumer.ack(some))
    assert set(acked) == set(range(400))
    assert len(sessions) == 1


async def test_as_many_consumers_as_there_are_messages_get_some_at_once(lab: Lab) -> None:
    async with connected(lab.url) as b:
        consumers = [await b.consume(ALL, prefetch=1, consumer_id=f"c{n}") for n in range(MESSAGES)]
        await b.publish(_dispatches(100))
        await until(lambda: all(each.waiting(MEDIUM) for each in consumers))
        assert max(each.waiting(MEDIUM) for each in consumers) == 100 // MESSAGES


@asynccontextmanager
async def _one_pack(lab: Lab, url: str | None = None) -> AsyncIterator[tuple[Broker, Consumer, list[Delivery]]]:
    """Yield a broker, a consumer, and the four deliveries that it took, all of one message."""
    async with connected(url or lab.url) as b:
        await _send_pack(lab)
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        pack = await _take(consumer, 4)
        assert (numbers(pack), len({each.tag for each in pack})) == ([0, 1, 2, 3], 1)
        yield b, consumer, pack


async def _send_pack(lab: Lab) -> None:
    await lab.inject(MEDIUM, b"\n".join(each.encode() for each in _dispatches(4)))


async def _take(consumer: Consumer, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    while len(taken) < count:
        assert await consumer.wait(5)
        delivery = consumer.take(MEDIUM)
        assert delivery is not None
        taken.append(delivery)
    return taken


async def _is_empty(b: Broker) -> bool:
    return all(depth.ready == depth.unacked == 0 for depth in (await b.depths()).values())
