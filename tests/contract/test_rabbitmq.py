"""What only RabbitMQ can do to us."""

import asyncio
import random
import time

import aio_pika
import aiormq
import pytest

from distriqueue import broker
from distriqueue.broker import topology
from distriqueue.broker.rabbitmq import RabbitMQBroker
from distriqueue.broker.rabbitmq_consumer import RabbitMQConsumer
from distriqueue.core.job import Priority
from distriqueue.core.ports import Broker, Consumer
from tests.contract.labs import collect, connected, dispatch, numbers, take_all, until
from tests.servers.rabbitmq import RabbitMQServer

pytestmark = pytest.mark.rabbitmq

ALL = tuple(Priority)
MEDIUM = Priority.MEDIUM


@pytest.fixture
def no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only what the server tells us."""
    monkeypatch.setattr("distriqueue.broker.rabbitmq.WATCH_S", 60.0)


async def test_the_watchdog_notices_a_channel_without_a_consumer(amqp_url: str) -> None:
    async with connected(amqp_url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        _channel(consumer, MEDIUM).consumers.clear()
        await _heals(b, consumer)


async def test_the_watchdog_notices_a_lane_without_a_channel(amqp_url: str) -> None:
    async with connected(amqp_url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        assert isinstance(consumer, RabbitMQConsumer)
        del consumer._subscriptions[MEDIUM]
        await _heals(b, consumer)


async def test_a_consumer_cancelled_by_the_server_consumes_again(amqp_url: str, no_watchdog: None) -> None:
    async with connected(amqp_url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        async with await aio_pika.connect(amqp_url, timeout=10) as connection:
            await (await connection.channel()).queue_delete(MEDIUM.queue)
        await _heals(b, consumer)


async def test_a_channel_closed_by_the_server_is_replaced_and_its_deliveries_come_again(
    amqp_url: str, no_watchdog: None
) -> None:
    async with connected(amqp_url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        await b.publish([dispatch(number=n) for n in range(3)])
        old = await collect(consumer, 3)
        await _channel(consumer, MEDIUM).basic_ack(999, wait=False)
        again = await collect(consumer, 3, ack=True)
        assert sorted(numbers(again)) == [0, 1, 2]
        await consumer.ack(old)
        assert not await consumer.wait(0.1)


async def test_a_returned_publish_is_false_and_its_binding_is_made_again(amqp_url: str) -> None:
    async with connected(amqp_url) as b:
        async with await aio_pika.connect(amqp_url, timeout=10) as connection:
            queue = await (await connection.channel()).get_queue(MEDIUM.queue)
            await queue.unbind(topology.EXCHANGE, routing_key=MEDIUM.queue)
        held = await b.publish([dispatch(Priority.LOW), dispatch(MEDIUM), dispatch(Priority.LOW)])
        assert not held[1]
        await until(lambda: _published(b))


async def test_of_several_lanes_only_what_was_returned_is_false(amqp_url: str) -> None:
    async with connected(amqp_url) as b:
        async with await aio_pika.connect(amqp_url, timeout=10) as connection:
            queue = await (await connection.channel()).get_queue(MEDIUM.queue)
            await queue.unbind(topology.EXCHANGE, routing_key=MEDIUM.queue)
        sent = [dispatch((Priority.LOW, MEDIUM)[n % 2], number=n) for n in range(64)]
        held = await b.publish(sent)
        assert not any(held[1::2])
        await until(lambda: b.connected)
        low = await b.consume((Priority.LOW,), prefetch=50, consumer_id="low")
        kept = {n for n in range(64) if held[n]}
        assert kept <= set(numbers(await collect(low, 32, ack=True)))


async def test_depths_are_of_messages(amqp_url: str) -> None:
    async with connected(amqp_url) as b:
        await b.publish([dispatch() for _ in range(40)])
        assert (await b.depths())[MEDIUM].ready == 8
        consumer = await b.consume(ALL, prefetch=1, consumer_id="c")
        await until(lambda: consumer.waiting(MEDIUM) == 5)
        depth = (await b.depths())[MEDIUM]
        assert (depth.ready, depth.unacked) == (7, 1)


async def test_acks_in_any_order_from_many_tasks_keep_the_channel(amqp_url: str) -> None:
    rng = random.Random(7)
    async with connected(amqp_url) as b:
        consumer = await b.consume(ALL, prefetch=100, consumer_id="c")
        await b.publish([dispatch(ALL[n % 2], number=n) for n in range(400)])
        seen: list[int] = []
        sessions = set()
        while len(seen) < 400:
            await consumer.wait(5)
            batch = take_all(consumer)
            seen += numbers(batch)
            sessions |= {d.session for d in batch}
            rng.shuffle(batch)
            async with asyncio.TaskGroup() as group:
                for start in range(0, len(batch), 7):
                    group.create_task(consumer.ack(batch[start : start + 7]))
        assert sorted(seen) == list(range(400))
        assert len(sessions) == 1
        assert all(depth.ready == depth.unacked == 0 for depth in (await b.depths()).values())


async def test_a_queue_of_another_kind_is_said_and_waited_out(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        await channel.declare_queue(Priority.LOW.queue, durable=True)
        async with broker.connect(amqp_url, publish_timeout_s=1.0) as b:
            assert not await _published(b)
            await asyncio.sleep(0.3)
            assert not b.connected
            await channel.queue_delete(Priority.LOW.queue)
            await until(lambda: _published(b))


async def test_a_frozen_server_holds_up_neither_publishing_nor_closing(
    amqp_url: str, rabbitmq_server: RabbitMQServer
) -> None:
    try:
        async with connected(amqp_url, publish_timeout_s=0.5) as b:
            consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
            rabbitmq_server.pause()
            began_s = time.monotonic()
            assert await b.publish([dispatch()] * 3) == [False] * 3
            await consumer.ack([])
            assert time.monotonic() - began_s < 1.5
            closing_s = time.monotonic()
        assert time.monotonic() - closing_s < 12
    finally:
        rabbitmq_server.unpause()
    leftover = {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}  # type: ignore[union-attr]
    await until(lambda: len(asyncio.all_tasks()) == 1, what=f"no task but ours, was {leftover}")


async def test_dispatches_outlive_a_killed_server(amqp_url: str, rabbitmq_server: RabbitMQServer) -> None:
    async with connected(amqp_url) as b:
        consumer = await b.consume((Priority.LOW,), prefetch=5, consumer_id="c")
        assert all(await b.publish([dispatch(number=n) for n in range(20)]))
        # RabbitMQ 3.10 can lose a queue that was declared only a moment before a SIGKILL; ADR 0003.
        await asyncio.sleep(1.5)
        await asyncio.to_thread(rabbitmq_server.kill)
        await asyncio.to_thread(rabbitmq_server.start)
        await until(lambda: b.connected, timeout_s=20)
        other = await b.consume((MEDIUM,), prefetch=50, consumer_id="other")
        assert sorted(numbers(await collect(other, 20, ack=True))) == list(range(20))
        assert await b.publish([dispatch(Priority.LOW, number=5)]) == [True]
        assert numbers(await collect(consumer, 1)) == [5]


async def _heals(b: Broker, consumer: Consumer) -> None:
    assert isinstance(b, RabbitMQBroker)
    first = b._session
    await until(lambda: b._session is not None and b._session is not first, timeout_s=5, what="a new session")
    await b.publish([dispatch(number=42)])
    assert numbers(await collect(consumer, 1, ack=True)) == [42]


def _channel(consumer: Consumer, lane: Priority) -> aiormq.Channel:
    assert isinstance(consumer, RabbitMQConsumer)
    return consumer._subscriptions[lane].channel


async def _published(b: Broker) -> bool:
    return await b.publish([dispatch(number=42)]) == [True]
