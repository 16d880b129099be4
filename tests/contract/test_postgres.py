"""What only Postgres can do to us."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from distriqueue.broker import postgres_sql as sql
from distriqueue.core.job import Priority
from distriqueue.core.ports import Broker
from tests.contract.labs import collect, connected, dispatch, numbers, until
from tests.servers.postgres import PostgresServer

ALL = tuple(Priority)


@asynccontextmanager
async def raw(url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


async def test_many_brokers_may_make_the_tables_at_once(empty_database_url: str) -> None:
    async def start() -> None:
        async with connected(empty_database_url) as b:
            assert await b.publish([dispatch()]) == [True]

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(start())


async def test_a_consumer_whose_lease_was_ended_starts_anew(empty_database_url: str) -> None:
    async with connected(empty_database_url) as b, raw(empty_database_url) as connection:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        await b.publish([dispatch(number=n) for n in range(3)])
        old = await collect(consumer, 3)
        # As the sweep of another consumer does.
        await connection.execute("UPDATE broker.consumers SET lease_until = now() - interval '1 s'")
        ended = [row["id"] for row in await connection.fetch(sql.END_EXPIRED)]
        await connection.fetch(sql.RELEASE_ALL, ended)
        again = await collect(consumer, 3)
        assert sorted(numbers(again)) == [0, 1, 2]
        await consumer.ack(old)
        assert (await b.depths())[Priority.MEDIUM].unacked == 3


async def test_a_consumer_whose_lease_was_ended_can_take_nothing(empty_database_url: str) -> None:
    async with connected(empty_database_url) as b, raw(empty_database_url) as connection:
        await b.publish([dispatch()])
        number = await connection.fetchval(sql.REGISTER, "late", [2], 60.0)
        await connection.fetch(sql.END_ONE, number)
        assert await connection.fetch(sql.SETTLE_AND_TAKE, number, [], [2], [5]) == []
        assert (await b.depths())[Priority.MEDIUM].ready == 1


async def test_without_consumers_nobody_is_notified(empty_database_url: str) -> None:
    async with connected(empty_database_url) as b, raw(empty_database_url) as connection:
        heard: list[object] = []
        await connection.add_listener(sql.CHANNEL, lambda *args: heard.append(args[-1]))
        await b.publish([dispatch()])
        consumer = await b.consume((Priority.LOW, Priority.CRITICAL), prefetch=5, consumer_id="c")
        await b.publish([dispatch(Priority.HIGH)])
        await b.publish([dispatch(Priority.LOW), dispatch(Priority.CRITICAL), dispatch(Priority.LOW)])
        await collect(consumer, 3)
        await until(lambda: bool(heard))
        assert heard == ["0,3"]


async def test_a_lane_is_looked_at_without_a_notification(empty_database_url: str) -> None:
    async with connected(empty_database_url) as b, raw(empty_database_url) as connection:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        assert not await consumer.wait(0.1)
        began_s = time.monotonic()
        await connection.execute(
            "INSERT INTO broker.dispatches (lane, body) VALUES (2, $1)", dispatch(number=3).encode()
        )
        assert numbers(await collect(consumer, 1)) == [3]
        assert time.monotonic() - began_s < 2.0


@pytest.mark.parametrize("analyzed", [False, True])
async def test_a_take_reads_only_what_it_takes_under_a_backlog(empty_database_url: str, analyzed: bool) -> None:
    async with connected(empty_database_url) as b, raw(empty_database_url) as connection:
        await _backlog(connection, 50_000)
        if analyzed:
            await connection.execute("ANALYZE broker.dispatches")
        consumer_id = await connection.fetchval(sql.REGISTER, "plan", [0, 3], 60.0)
        plan = await connection.fetchval(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql.SETTLE_AND_TAKE, consumer_id, [], [0, 3], [10, 10]
        )
        top = json.loads(plan)[0]["Plan"]
        assert top["Actual Rows"] == 20
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 1000
        assert "Seq Scan" not in plan
        await _is_cheap(b)


async def test_the_tables_of_an_older_version_are_taken_over(empty_database_url: str) -> None:
    async with connected(empty_database_url), raw(empty_database_url) as connection:
        await connection.execute("ALTER TABLE broker.dispatches DROP COLUMN jobs")
        await connection.execute(
            "INSERT INTO broker.dispatches (lane, body) VALUES (2, $1)", dispatch(number=3).encode()
        )
    async with connected(empty_database_url) as b:
        assert all(await b.publish([dispatch(number=n) for n in range(32)]))
        assert (await b.depths())[Priority.MEDIUM].ready == 33
        consumer = await b.consume(ALL, prefetch=50, consumer_id="c")
        assert len(await collect(consumer, 33, ack=True)) == 33


async def test_depths_are_of_dispatches(empty_database_url: str) -> None:
    async with connected(empty_database_url) as b:
        await b.publish([dispatch() for _ in range(40)])
        assert (await b.depths())[Priority.MEDIUM].ready == 40
        consumer = await b.consume(ALL, prefetch=1, consumer_id="c")
        await until(lambda: consumer.waiting(Priority.MEDIUM) == 5)
        depth = (await b.depths())[Priority.MEDIUM]
        assert (depth.ready, depth.unacked) == (35, 5)


async def test_no_more_is_taken_than_is_wanted(empty_database_url: str) -> None:
    async with connected(empty_database_url) as b, raw(empty_database_url) as connection:
        heard: list[object] = []
        await connection.add_listener(sql.CHANNEL, lambda *args: heard.append(args[-1]))
        consumer = await b.consume(ALL, prefetch=20, consumer_id="c")
        for n in range(3):
            await b.publish([dispatch(number=n) for n in range(400)])
            await collect(consumer, 400, ack=True)
            await until(lambda n=n: len(heard) > n)  # type: ignore[misc]
        assert heard == ["2"] * 3, "nothing was given back"


async def test_a_killed_server_is_found_again(empty_database_url: str, postgres_server: PostgresServer) -> None:
    async with connected(empty_database_url) as b:
        consumer = await b.consume(ALL, prefetch=5, consumer_id="c")
        await asyncio.to_thread(postgres_server.kill)
        await until(lambda: not b.connected)
        await asyncio.to_thread(postgres_server.start)
        await until(lambda: _published(b))
        assert 42 in numbers(await collect(consumer, 1, ack=True))


async def _backlog(connection: "asyncpg.Connection[Any]", count: int) -> None:
    await connection.execute(
        "INSERT INTO broker.dispatches (lane, body) SELECT n % 4, $1 FROM generate_series(1, $2::int) AS n",
        dispatch().encode(),
        count,
    )


async def _is_cheap(b: Broker) -> None:
    began_s = time.monotonic()
    depths = await b.depths()
    assert time.monotonic() - began_s < 0.5
    assert depths[Priority.HIGH].ready == 12_500


async def _published(b: Broker) -> bool:
    return await b.publish([dispatch(number=42)]) == [True]
