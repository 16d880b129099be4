"""What every broker does, whichever adapter it is."""

import asyncio
import time
from collections import Counter

import pytest
from structlog.testing import capture_logs

from distriqueue import broker
from distriqueue.core.errors import BadSetting, BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import DISPATCH_PACK
from distriqueue.core.ports import Broker, Consumer
from tests.contract.labs import (
    Lab,
    collect,
    connected,
    dispatch,
    numbers,
    take_all,
    through_proxy,
    until,
)

ALL = tuple(Priority)
MEDIUM = Priority.MEDIUM


async def test_a_published_dispatch_arrives_whole_and_once(lab: Lab) -> None:
    sent = dispatch(Priority.HIGH, text="grüße \x00 ✓")
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=10, consumer_id="c")
        assert await b.publish([sent]) == [True]
        [got] = await collect(consumer, 1)
        assert (got.dispatch, got.lane) == (sent, Priority.HIGH)
        await consumer.ack([got])
        await consumer.ack([got])
        await until(lambda: _is_empty(b))
        assert not await consumer.wait(0.05)


async def test_publishing_nothing_is_nothing(lab: Lab) -> None:
    async with connected(lab.url) as b:
        assert await b.publish([]) == []


async def test_each_lane_has_its_own_queue(lab: Lab) -> None:
    async with connected(lab.url) as b:
        assert await b.publish([dispatch(lane) for lane in ALL]) == [True] * 4
        some = await b.consume((Priority.CRITICAL, Priority.LOW), prefetch=10, consumer_id="some")
        got = await collect(some, 2)
        assert [d.lane for d in got] == [Priority.CRITICAL, Priority.LOW]
        assert some.waiting(Priority.HIGH) == 0
        assert some.take(Priority.HIGH) is None
        rest = await b.consume((Priority.HIGH, MEDIUM), prefetch=10, consumer_id="rest")
        assert {d.lane for d in await collect(rest, 2)} == {Priority.HIGH, MEDIUM}


async def test_a_lane_is_first_in_first_out_for_one_consumer(lab: Lab) -> None:
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=7, consumer_id="c")
        for start in range(0, 100, 25):
            assert all(await b.publish([dispatch(number=start + n) for n in range(25)]))
        assert numbers(await collect(consumer, 100, ack=True)) == list(range(100))


@pytest.mark.parametrize("together", [2, 20, 200])
async def test_the_prefetch_bounds_each_lane(lab: Lab, together: int) -> None:
    lanes = MEDIUM, Priority.LOW
    async with connected(lab.url) as b:
        for _ in range(200 // together):
            assert all(await b.publish([dispatch(lanes[n % 2]) for n in range(together)]))
        consumer = await b.consume(ALL, prefetch=20, consumer_id="c")
        await until(lambda: all(consumer.waiting(lane) >= 10 for lane in lanes))
        held = take_all(consumer)
        while await consumer.wait(0.3):
            held += take_all(consumer)
        counts = Counter(each.lane for each in held)
        assert all(10 <= counts[lane] <= 40 for lane in lanes), "what is taken but not acked counts too"
        await consumer.ack(held)
        refill = await collect(consumer, 20)
        assert {each.lane for each in refill} == set(lanes)


async def test_when_messages_grow_what_is_too_much_is_given_back(lab: Lab) -> None:
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=20, consumer_id="c")
        for n in range(100):
            await b.publish([dispatch(number=n)])
        await collect(consumer, 100, ack=True)
        await b.publish([dispatch(number=n) for n in range(400)])
        other = await b.consume(ALL, prefetch=1000, consumer_id="other")
        await until(lambda: consumer.waiting(MEDIUM) + other.waiting(MEDIUM) == 400)
        assert 1 <= consumer.waiting(MEDIUM) <= 2 * 20 + DISPATCH_PACK
        assert sorted(numbers(take_all(consumer) + take_all(other))) == list(range(400))


async def test_two_consumers_share_without_doubles(lab: Lab) -> None:
    async with connected(lab.url) as b, connected(lab.url) as other:
        consumers = [await one.consume(ALL, prefetch=10, consumer_id=f"c{n}") for n, one in enumerate((b, other))]
        await b.publish([dispatch(number=n) for n in range(400)])
        counts = await _share(consumers, 400)
        assert sorted(n for got in counts for n in got) == list(range(400))
        assert all(len(got) > 40 for got in counts), "neither starves"


async def test_released_goes_to_another_consumer(lab: Lab) -> None:
    async with connected(lab.url) as b:
        first = await b.consume(ALL, prefetch=5, consumer_id="first")
        await b.publish([dispatch(number=n) for n in range(3)])
        held = await collect(first, 3)
        await first.pause()
        second = await b.consume(ALL, prefetch=5, consumer_id="second")
        await first.release(held[:2])
        assert sorted(numbers(await collect(second, 2))) == [0, 1]
        await first.ack(held[2:])
        assert not await second.wait(0.2)


async def test_fifty_releases_lose_nothing(lab: Lab) -> None:
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=2, consumer_id="c")
        await b.publish([dispatch(number=7)])
        for _ in range(50):
            [held] = await collect(consumer, 1)
            await consumer.release([held])
        [held] = await collect(consumer, 1, ack=True)
        assert held.dispatch.payload["number"] == 7
        await until(lambda: _is_empty(b))
        assert await lab.dead() == []


async def test_a_paused_consumer_gives_back_and_takes_again_when_resumed(lab: Lab) -> None:
    async with connected(lab.url) as b:
        first = await b.consume(ALL, prefetch=5, consumer_id="first")
        await b.publish([dispatch(number=n) for n in range(5)])
        await until(lambda: first.waiting(MEDIUM) == 5)
        held = first.take(MEDIUM)
        assert held is not None
        await first.pause()
        assert (first.waiting(MEDIUM), first.take(MEDIUM)) == (0, None)
        second = await b.consume(ALL, prefetch=10, consumer_id="second")
        assert sorted(numbers(await collect(second, 4, ack=True))) == [1, 2, 3, 4]
        await first.ack([held])
        await second.close()
        await b.publish([dispatch(number=9)])
        assert not await first.wait(0.2)
        await first.resume()
        assert numbers(await collect(first, 1, ack=True)) == [9]
        await until(lambda: _is_empty(b))


async def test_what_is_unacked_comes_back_after_close(lab: Lab) -> None:
    async with connected(lab.url) as b:
        first = await b.consume(ALL, prefetch=5, consumer_id="first")
        await b.publish([dispatch(number=n) for n in range(5)])
        held = await collect(first, 5)
        await first.ack(held[:1])
        await first.close()
        await first.ack(held)
        second = await b.consume(ALL, prefetch=5, consumer_id="second")
        assert sorted(numbers(await collect(second, 4, timeout_s=3))) == [1, 2, 3, 4]
        assert not await second.wait(0.1)


async def test_what_a_dead_consumer_held_comes_back(lab: Lab) -> None:
    async with through_proxy(lab) as (url, network), connected(url) as dying, connected(lab.url) as b:
        doomed = await dying.consume(ALL, prefetch=5, consumer_id="doomed")
        await b.publish([dispatch(number=n) for n in range(5)])
        await until(lambda: doomed.waiting(MEDIUM) == 5)
        held = [delivery for _ in range(2) if (delivery := doomed.take(MEDIUM))]
        network.close()
        survivor = await b.consume(ALL, prefetch=10, consumer_id="survivor")
        assert sorted(numbers(await collect(survivor, 5, timeout_s=10))) == [0, 1, 2, 3, 4]
        await doomed.ack(held)
        assert not await doomed.wait(0), "the buffer of a lost session is dropped"


async def test_a_cut_connection_heals_and_old_deliveries_are_void(lab: Lab) -> None:
    async with through_proxy(lab) as (url, network), connected(url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        await b.publish([dispatch(number=n) for n in range(5)])
        await until(lambda: consumer.waiting(MEDIUM) == 5)
        old = [delivery for _ in range(2) if (delivery := consumer.take(MEDIUM))]
        network.cut()
        await until(lambda: consumer.waiting(MEDIUM) == 0, what="the buffer of a lost session is dropped")
        again = await collect(consumer, 5, timeout_s=4)
        assert sorted(numbers(again)) == [0, 1, 2, 3, 4]
        assert {d.session for d in old}.isdisjoint(d.session for d in again)
        await consumer.ack(old)
        await consumer.release(old)
        assert not await consumer.wait(0.2)
        await consumer.ack(again)
        await until(lambda: b.connected)
        await until(lambda: _is_empty(b))


async def test_depths_and_purge(lab: Lab) -> None:
    async with connected(lab.url) as b:
        await b.publish([dispatch(Priority.LOW) for _ in range(9)])
        depth = (await b.depths())[Priority.LOW]
        assert (depth.ready, depth.unacked, depth.consumers) == (9, 0, 0)
        consumer = await b.consume((Priority.LOW,), prefetch=4, consumer_id="c")
        await until(lambda: consumer.waiting(Priority.LOW) >= 4)
        depth = (await b.depths())[Priority.LOW]
        assert depth.ready + depth.unacked == 9
        assert depth.consumers >= 1, "RabbitMQ counts its subscriptions, and cancelled ones until all is settled"
        assert 4 <= depth.unacked <= 8
        assert (await b.depths())[Priority.HIGH].ready == 0
        await b.purge()
        assert (await b.depths())[Priority.LOW].ready == 0


@pytest.mark.parametrize("poison", [b"not json", b'{"v": 99}', b"\x00\xff", b"[]"])
async def test_an_unreadable_message_is_dead_lettered_and_the_rest_flows(lab: Lab, poison: bytes) -> None:
    async with connected(lab.url) as b:
        await b.publish([dispatch(number=0)])
        await lab.inject(MEDIUM, poison)
        await b.publish([dispatch(number=1)])
        consumer = await b.consume(ALL, prefetch=1, consumer_id="c")
        assert numbers(await collect(consumer, 2, ack=True)) == [0, 1]

        async def is_buried() -> bool:
            return await lab.dead() == [poison]

        await until(is_buried)
        await until(lambda: _is_empty(b))


async def test_five_thousand_through_nothing_lost_or_doubled(lab: Lab) -> None:
    sent = [dispatch(ALL[n % 4], number=n) for n in range(5000)]
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=50, consumer_id="c")
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(b.publish(sent))
            got = await collect(consumer, 5000, timeout_s=30, ack=True)
        assert all(publishing.result())
        assert Counter(numbers(got)) == Counter(range(5000))
        await until(lambda: _is_empty(b))


async def test_many_publishers_at_once(lab: Lab) -> None:
    async with connected(lab.url) as b:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(b.publish([dispatch(number=n)])) for n in range(500)]
        assert all(task.result() == [True] for task in tasks)
        assert (await b.depths())[MEDIUM].ready == 500
        consumer = await b.consume(ALL, prefetch=100, consumer_id="c")
        assert sorted(numbers(await collect(consumer, 500, ack=True))) == list(range(500))


async def test_a_cancelled_publisher_does_not_spoil_the_others(lab: Lab) -> None:
    async with connected(lab.url) as b:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(b.publish([dispatch(number=n, text="x" * 5000)])) for n in range(60)]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
        kept = [task for task in tasks if not task.cancelled()]
        assert len(kept) == 40
        if not all(task.result() == [True] for task in kept):
            await until(lambda: b.connected)
        assert await b.publish([dispatch()]) == [True]


async def test_a_big_payload_passes(lab: Lab) -> None:
    sent = dispatch(text="€" * 300_000)
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=2, consumer_id="c")
        assert await b.publish([sent, sent]) == [True, True]
        assert [d.dispatch for d in await collect(consumer, 2, ack=True)] == [sent, sent]


async def test_a_silent_network_fails_publishes_in_time_and_heals(lab: Lab) -> None:
    async with through_proxy(lab) as (url, network), connected(url, publish_timeout_s=0.5) as b:
        network.stall()
        began_s = time.monotonic()
        assert await b.publish([dispatch(number=n) for n in range(3)]) == [False] * 3
        assert time.monotonic() - began_s < 1.5
        network.flow()
        await until(lambda: _published(b))


async def test_a_publish_in_flight_ends_with_its_connection(lab: Lab) -> None:
    async with through_proxy(lab) as (url, network), connected(url, publish_timeout_s=30.0) as b:
        network.stall()
        async with asyncio.timeout(4), asyncio.TaskGroup() as group:
            tasks = [group.create_task(b.publish([dispatch(number=n)] * 2)) for n in range(3)]
            await asyncio.sleep(0.1)
            network.cut()
        assert [task.result() for task in tasks] == [[False] * 2] * 3


async def test_a_stopped_server_fails_publishes_at_once_and_comes_back(lab: Lab) -> None:
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        await b.publish([dispatch(number=1)])
        await collect(consumer, 1, ack=True)
        await until(lambda: _is_empty(b))
        await asyncio.to_thread(lab.stop)
        try:
            await until(lambda: not b.connected)
            began_s = time.monotonic()
            for _ in range(20):
                assert await b.publish([dispatch() for _ in range(10)]) == [False] * 10
            assert time.monotonic() - began_s < 0.5
            with pytest.raises(BrokerUnavailable):
                await b.depths()
            with pytest.raises(BrokerUnavailable):
                await b.purge()
            late = await b.consume((Priority.HIGH,), prefetch=5, consumer_id="late")
        finally:
            await asyncio.to_thread(lab.start)
        await until(lambda: b.connected, timeout_s=20)
        assert await b.publish([dispatch(number=2), dispatch(Priority.CRITICAL, number=3)]) == [True, True]
        assert sorted(numbers(await collect(consumer, 2, ack=True))) == [2, 3]
        assert await b.publish([dispatch(Priority.HIGH, number=4)]) == [True]
        got = await asyncio.wait_for(_first_of(consumer, late), 10)
        assert got == 4


async def test_queues_deleted_under_a_consumer_are_made_again(lab: Lab) -> None:
    async with connected(lab.url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        await lab.wipe()
        await until(lambda: _published(b))
        assert numbers(await collect(consumer, 1, ack=True)) == [42]


async def test_queues_deleted_under_a_mere_publisher_are_made_again(lab: Lab) -> None:
    async with connected(lab.url) as b:
        await lab.wipe()
        await until(lambda: _published(b))
        assert (await b.depths())[MEDIUM].ready == 1


async def test_connect_does_not_wait_for_a_server(lab: Lab) -> None:
    async with through_proxy(lab) as (url, network):
        network.close()
        async with broker.connect(url, publish_timeout_s=1.0) as b:
            consumer = await b.consume(ALL, prefetch=5, consumer_id="early")
            assert not b.connected
            assert await b.publish([dispatch()]) == [False]
            network.reopen()
            await until(lambda: _published(b))
            assert numbers(await collect(consumer, 1)) == [42]


async def test_refused_credentials_are_said_and_tried_again(lab: Lab) -> None:
    wrong = lab.url.replace("guest:guest@", "guest:secret@").replace("postgres@", "nobody:secret@")
    with capture_logs() as logs:
        async with broker.connect(wrong, publish_timeout_s=1.0) as b:
            await until(lambda: str(logs).count("refuses the credentials") >= 2)
            assert not b.connected
    assert "secret" not in str(logs)


@pytest.mark.parametrize("url", ["redis://127.0.0.1/", "not a url", ""])
async def test_an_unknown_scheme_is_a_bad_setting(url: str) -> None:
    with pytest.raises(BadSetting, match="DISTRIQUEUE_BROKER_URL"):
        async with broker.connect(url, publish_timeout_s=1.0):
            pass


async def _is_empty(b: Broker) -> bool:
    return all(depth.ready == depth.unacked == 0 for depth in (await b.depths()).values())


async def _published(b: Broker) -> bool:
    return await b.publish([dispatch(number=42)]) == [True]


async def _share(consumers: list[Consumer], total: int) -> list[list[int]]:
    got: list[list[int]] = [[] for _ in consumers]
    deadline = time.monotonic() + 15
    while sum(map(len, got)) < total:
        assert time.monotonic() < deadline, f"{sum(map(len, got))} of {total} came"
        for consumer, mine in zip(consumers, got, strict=True):
            await consumer.wait(0.01)
            batch = take_all(consumer)
            mine.extend(numbers(batch))
            await consumer.ack(batch)
    return got


async def _first_of(*consumers: Consumer) -> int:
    while True:
        for consumer in consumers:
            if await consumer.wait(0.01):
                [delivery] = take_all(consumer)
                await consumer.ack([delivery])
                return int(delivery.dispatch.payload["number"])
