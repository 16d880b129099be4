"""Servers for whoever asks: started at the first use, ended with the session."""

import importlib.util
from collections.abc import AsyncIterator, Iterator

import aio_pika
import pytest

from distriqueue.broker import topology
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerFailed
from tests.servers.rabbitmq import RabbitMQServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A private PostgreSQL for the session; a test that stops it starts it again."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitMQServer]:
    """A private RabbitMQ for the session; a test that stops it starts it again. Fails where it is not installed."""
    try:
        server = RabbitMQServer()
    except ServerFailed as exc:
        pytest.fail(str(exc), pytrace=False)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
async def empty_database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A fresh database without tables."""
    name = await postgres_server.create_database()
    yield postgres_server.url(name)
    await postgres_server.drop_database(name)


@pytest.fixture
async def database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A fresh database with the jobs' tables: a copy of one that was migrated once."""
    name = await postgres_server.create_database(template=await _migrated(postgres_server))
    yield postgres_server.url(name)
    await postgres_server.drop_database(name)


@pytest.fixture
async def amqp_url(rabbitmq_server: RabbitMQServer) -> str:
    """RabbitMQ without a trace of an earlier test.

    One vhost, emptied: making one takes a second, deleting our six names some milliseconds.
    """
    await forget_topology(rabbitmq_server.url)
    return rabbitmq_server.url


async def forget_topology(url: str) -> None:
    """Delete our queues and exchange, whoever uses them."""
    async with await aio_pika.connect(url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in (*(lane.queue for lane in topology.LANES), topology.DEAD_QUEUE):
            await channel.queue_delete(queue)
        await channel.exchange_delete(topology.EXCHANGE)


async def _migrated(server: PostgresServer) -> str:
    if server.template is None:
        if importlib.util.find_spec("distriqueue.store.schema") is None:
            return "template1"
        schema = importlib.import_module("distriqueue.store.schema")
        name = await server.create_database()
        await schema.migrate(server.url(name))
        server.template = name
    return server.template
