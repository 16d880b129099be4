"""A broker under test: what the suite needs to do to it from outside, for each adapter."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

import aio_pika
import asyncpg

from distriqueue import broker
from distriqueue.broker import topology
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import DISPATCH_PACK, Dispatch
from distriqueue.core.ports import Broker, Consumer, Delivery
from tests.conftest import forget_topology
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy, proxy
from tests.servers.rabbitmq import RabbitMQServer


class Lab(Protocol):
    """One adapter's server, seen from outside the port."""

    url: str
    port: int

    def stop(self) -> None:
        """Stop the server."""

    def start(self) -> None:
        """Start it again."""

    async def inject(self, lane: Priority, body: bytes) -> None:
        """Put a message into the lane that no publisher of ours would send."""

    async def messages(self, lane: Priority) -> list[bytes]:
        """Look at what waits in the lane, the oldest first."""

    async def dead(self) -> list[bytes]:
        """Take what was dead-lettered."""

    async def wipe(self) -> None:
        """Delete the queues under whoever uses them."""


class PostgresLab:
    """The Postgres broker's database."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._server = server
        self._database = database
        self.url = server.url(database)
        self.port = server.port

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def start(self) -> None:
        """Start it again."""
        self._server.start()

    async def inject(self, lane: Priority, body: bytes) -> None:
        """Insert a row."""
        number = topology.LANES.index(lane)
        await self._server.execute(
            f"INSERT INTO broker.dispatches (lane, body) VALUES ({number}, '\\x{body.hex()}')", database=self._database
        )

    async def messages(self, lane: Priority) -> list[bytes]:
        """Read the rows that wait."""
        number = topology.LANES.index(lane)
        return await self._bodies(f"broker.dispatches WHERE lane = {number} AND holder IS NULL")

    async def dead(self) -> list[bytes]:
        """Read the dead rows."""
        return await self._bodies("broker.dead")

    async def _bodies(self, source: str) -> list[bytes]:
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            rows = await connection.fetch(f"SELECT body FROM {source} ORDER BY id")
        finally:
            await connection.close()
        return [row["body"] for row in rows]

    async def wipe(self) -> None:
        """Drop the schema."""
        await self._server.execute("DROP SCHEMA broker CASCADE", database=self._database)


class RabbitMQLab:
    """RabbitMQ's default vhost."""

    def __init__(self, server: RabbitMQServer) -> None:
        self._server = server
        self.url = server.url
        self.port = server.port

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def start(self) -> None:
        """Start it again."""
        self._server.start()

    async def inject(self, lane: Priority, body: bytes) -> None:
        """Publish raw bytes."""
        async with await aio_pika.connect(self.url, timeout=10) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(topology.EXCHANGE)
            await exchange.publish(aio_pika.Message(body), routing_key=lane.queue, timeout=10)

    async def messages(self, lane: Priority) -> list[bytes]:
        """Get what is in the lane's queue, and leave it there."""
        return await self._bodies(lane.queue)

    async def dead(self) -> list[bytes]:
        """Get what is in the dead-letter queue, and leave it there."""
        return await self._bodies(topology.DEAD_QUEUE)

    async def _bodies(self, name: str) -> list[bytes]:
        async with await aio_pika.connect(self.url, timeout=10) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(name)
            found = []
            while message := await queue.get(fail=False, timeout=10):
                found.append(message.body)
            return found

    async def wipe(self) -> None:
        """Delete queues and exchange."""
        await forget_topology(self.url)


@asynccontextmanager
async def through_proxy(lab: Lab) -> AsyncIterator[tuple[str, Proxy]]:
    """Yield the lab's URL by way of a proxy, and the proxy."""
    async with proxy(lab.port) as forwarder:
        parts = urlsplit(lab.url)
        host = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{forwarder.port}"
        yield parts._replace(netloc=host).geturl(), forwarder


@asynccontextmanager
async def connected(
    url: str, *, publish_timeout_s: float = 5.0, dispatch_pack: int = DISPATCH_PACK
) -> AsyncIterator[Broker]:
    """Yield a broker that is up."""
    async with broker.connect(url, publish_timeout_s=publish_timeout_s, dispatch_pack=dispatch_pack) as b:
        await until(lambda: b.connected)
        yield b


def dispatch(lane: Priority = Priority.MEDIUM, *, number: int = 0, attempt: int = 1, text: str = "") -> Dispatch:
    """Return a dispatch that carries a number."""
    return Dispatch(
        job_id=new_job_id(),
        attempt=attempt,
        type="test",
        priority=lane,
        payload={"number": number, "text": text},
        execution_timeout_s=30.0,
    )


def numbers(deliveries: list[Delivery]) -> list[int]:
    """Return the numbers that the deliveries carry."""
    return [d.dispatch.payload["number"] for d in deliveries]


def take_all(consumer: Consumer) -> list[Delivery]:
    """Take what is at hand in any lane, most urgent lane first."""
    taken = []
    for lane in Priority:
        while delivery := consumer.take(lane):
            taken.append(delivery)
    return taken


async def collect(consumer: Consumer, count: int, *, timeout_s: float = 15.0, ack: bool = False) -> list[Delivery]:
    """Take until there are `count`, or fail after `timeout_s` seconds."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + timeout_s
    while len(taken) < count:
        left_s = deadline - time.monotonic()
        assert left_s > 0, f"{len(taken)} of {count} came within {timeout_s} s"
        await consumer.wait(left_s)
        batch = take_all(consumer)
        taken += batch
        if ack:
            await consumer.ack(batch)
    return taken


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, timeout_s: float = 15.0, what: str = "the condition"
) -> None:
    """Look again and again until the condition holds, where nothing signals it."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, f"{what} did not hold within {timeout_s} s"
        await asyncio.sleep(0.01)
