"""`/queues` on a real gateway: what the lanes hold by Postgres and by the broker, and how they are paused."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from distriqueue.core.errors import StoreUnavailable
from distriqueue.core.job import Priority
from distriqueue.store import routing as routing_module
from distriqueue.store.routing import REFRESH_S
from gateway.depths import READ_S
from orchestrator.duties.dispatcher import Dispatcher
from tests.integration.gateway import RunningGateway, running_gateway
from tests.integration.leader import Leader, connected, leading
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import proxy
from tests.servers.rabbitmq import RabbitMQServer

HOME: Final = "/api/queues"
NAMES: Final = ["job.critical", "job.high", "job.medium", "job.low"]
BY_BROKER: Final = ("ready", "unacked", "consumers")


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as each:
        await connected(each.parts.broker)
        yield each


async def queues(gateway: RunningGateway) -> dict[str, dict[str, Any]]:
    answer = await gateway.client.get(HOME)
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()}


async def order(gateway: RunningGateway, call: str, reason: str | None = None) -> dict[str, Any]:
    answer = await gateway.client.post(f"{HOME}/{call}", params={} if reason is None else {"reason": reason})
    assert answer.status_code == 200, answer.text
    queue: dict[str, Any] = answer.json()
    return queue


async def until_ready(gateway: RunningGateway, name: str, count: int) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (queue := (await queues(gateway))[name])["ready"] != count or queue["pending"]:
        assert time.monotonic() < deadline, queue
        await asyncio.sleep(0.02)
    return queue


async def claim(gateway: RunningGateway, job: dict[str, Any]) -> tuple[str, str | None]:
    told = await gateway.report(job["id"], "running")
    return told["answer"], told.get("reason")


async def status(gateway: RunningGateway, job: dict[str, Any]) -> str:
    return str((await gateway.client.get(f"/api/jobs/{job['id']}")).json()["status"])


async def send_stranded(leader: Leader) -> None:
    """Let the leader's dispatcher send what is pending, as it does a second after it became so."""
    await leader.database.fetch("UPDATE jobs SET ready_at = now() - interval '2 s' WHERE status = 'pending'")
    await Dispatcher(leader.duties, leader.sender).run(leader.epoch)


async def test_four_lanes_the_most_urgent_first(gateway: RunningGateway) -> None:
    found = await queues(gateway)
    assert list(found) == NAMES
    assert [each["priority"] for each in found.values()] == ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
    for each in found.values():
        changed_at = datetime.fromisoformat(each.pop("changedAt"))
        assert changed_at.utcoffset() == timedelta(0)
        del each["name"], each["priority"]
        assert each == {
            "pending": 0,
            "pendingIsEstimate": False,
            "brokerAvailable": True,
            "ready": 0,
            "unacked": 0,
            "consumers": 0,
            "oldestAgeSeconds": 0.0,
            "paused": False,
            "pausedReason": None,
        }


async def test_what_waits_is_counted_where_it_waits(gateway: RunningGateway) -> None:
    for _ in range(3):
        await gateway.submit(priority="HIGH")
    assert (await until_ready(gateway, "job.high", 3))["oldestAgeSeconds"] < 60
    consumer = await gateway.parts.broker.consume([Priority.HIGH], prefetch=2, consumer_id="w1")
    try:
        queue = await until_ready(gateway, "job.high", 1)
        assert (queue["unacked"], queue["consumers"]) == (2, 1)
    finally:
        await consumer.close()
    database = gateway.parts.database
    await database.fetch("UPDATE jobs SET status = 'pending', queued_at = NULL, ready_at = now() - interval '90 s'")
    found = await queues(gateway)
    assert found["job.high"]["pending"] == 3
    assert 90 <= found["job.high"]["oldestAgeSeconds"] < 120
    assert [found[name]["pending"] for name in NAMES if name != "job.high"] == [0, 0, 0]


async def test_counts_are_exact_up_to_a_bound(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_module, "MAX_COUNT", 2)
    await order(gateway, "low/pause")
    for exact in (True, True, False):
        await gateway.submit(priority="LOW")
        queue = (await queues(gateway))["job.low"]
        assert queue["pendingIsEstimate"] is not exact
    assert queue["pending"] == 2


async def test_pause_and_resume_by_any_name_of_the_lane(gateway: RunningGateway) -> None:
    before = (await queues(gateway))["job.high"]
    for name in ("job.high", "high", "HIGH", "Job.High"):
        paused = await order(gateway, f"{name}/pause", "maintenance")
        assert (paused["name"], paused["paused"], paused["pausedReason"]) == ("job.high", True, "maintenance")
        assert paused["changedAt"] > before["changedAt"]
        assert {each["name"] for each in (await queues(gateway)).values() if each["paused"]} == {"job.high"}
        before = await order(gateway, f"{name}/resume")
        assert (before["paused"], before["pausedReason"]) == (False, None)
        assert before["changedAt"] > paused["changedAt"]
    assert (await order(gateway, "high/pause"))["pausedReason"] is None
    entries = [each.entry for each in await gateway.parts.audit.page(limit=3)]
    assert [(each.action, each.target) for each in entries] == [
        ("queue.pause", "job.high"),
        ("queue.resume", "job.high"),
        ("queue.pause", "job.high"),
    ]
    assert [entries[0].details, entries[2].details] == [{"reason": None}, {"reason": "maintenance"}]


async def test_what_is_no_queue_and_no_order(gateway: RunningGateway) -> None:
    for name in ("nope", "job.", "job.job.high", "dead", "high%20"):
        for call in ("pause", "resume"):
            answer = await gateway.client.post(f"{HOME}/{name}/{call}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), name
    for query, field in (({"reason": "\0"}, "reason"), ({"reason": "x" * 501}, "reason"), ({"why": "x"}, "why")):
        answer = await gateway.client.post(f"{HOME}/high/pause", params=query)
        assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, [field])
    for path, allowed in (("", "GET"), ("/high/pause", "POST"), ("/high/resume", "POST")):
        answer = await gateway.client.delete(f"{HOME}{path}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert not any(each["paused"] for each in (await queues(gateway)).values())


async def test_a_paused_lane_starts_nothing_until_it_goes_on(gateway: RunningGateway, database_url: str) -> None:
    running, sent, other = [await gateway.submit(priority=lane) for lane in ("LOW", "LOW", "HIGH")]
    await until_ready(gateway, "job.low", 2)
    assert await claim(gateway, running) == ("accepted", None)
    await order(gateway, "low/pause")  # and at once, for who asks the same gateway
    assert await claim(gateway, sent) == ("refused", "queue_paused")
    assert await status(gateway, sent) == "pending"
    assert await claim(gateway, other) == ("accepted", None)
    assert (await gateway.report(running["id"], "completed"))["answer"] == "accepted"
    held = await gateway.submit(priority="LOW")
    async with leading(database_url) as leader:
        await gateway.parts.broker.purge()
        await send_stranded(leader)
        low = (await queues(gateway))["job.low"]
        assert (low["pending"], low["ready"]) == (2, 0)
        await order(gateway, "low/resume")
        await send_stranded(leader)
        await until_ready(gateway, "job.low", 2)
    for job in (sent, held):
        assert await claim(gateway, job) == ("accepted", None)
        assert (await gateway.report(job["id"], "completed"))["answer"] == "accepted"
        assert (await gateway.client.get(f"/api/jobs/{job['id']}")).json()["attempt"] == 1


async def test_another_gateway_hears_of_it_within_a_second(gateway: RunningGateway, database_url: str) -> None:
    async with running_gateway(database_url) as other:
        assert await claim(other, await other.submit(priority="LOW")) == ("accepted", None)
        job = await gateway.submit(priority="LOW")
        await order(gateway, "low/pause")
        await asyncio.sleep(REFRESH_S)
        assert await claim(other, job) == ("refused", "queue_paused")


async def test_what_cannot_be_noted_is_not_done(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await order(gateway, "high/pause")

    async def away(_entry: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(gateway.parts.audit, "append", away)
    for call in ("low/pause", "high/resume"):
        answer = await gateway.client.post(f"{HOME}/{call}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert {name for name, each in (await queues(gateway)).items() if each["paused"]} == {"job.high"}


async def test_without_a_broker_postgres_tells_the_rest(database_url: str, postgres_server: PostgresServer) -> None:
    async with proxy(postgres_server.port) as between:
        broker_url = database_url.replace(f":{postgres_server.port}/", f":{between.port}/")
        async with running_gateway(database_url, broker_url) as gateway:
            await connected(gateway.parts.broker)
            assert all(each["brokerAvailable"] for each in (await queues(gateway)).values())
            between.close()
            await gateway.submit(priority="LOW")
            found = await queues(gateway)
            assert [each["brokerAvailable"] for each in found.values()] == [False] * 4
            assert {each[name] for each in found.values() for name in BY_BROKER} == {None}
            assert found["job.low"]["pending"] == 1
            paused = await order(gateway, "low/pause")
            assert (paused["paused"], paused["brokerAvailable"]) == (True, False)
            between.reopen()
            await connected(gateway.parts.broker)
            assert all(each["brokerAvailable"] for each in (await queues(gateway)).values())


@pytest.mark.rabbitmq
async def test_a_broker_that_is_slow_to_answer_keeps_its_connection(
    database_url: str, amqp_url: str, rabbitmq_server: RabbitMQServer
) -> None:
    async with proxy(rabbitmq_server.port) as between:
        broker_url = amqp_url.replace(f":{rabbitmq_server.port}/", f":{between.port}/")
        async with running_gateway(database_url, broker_url) as gateway:
            await connected(gateway.parts.broker)
            assert (await queues(gateway))["job.low"]["ready"] == 0
            between.stall()
            asked_at = time.monotonic()
            several = await asyncio.gather(*(queues(gateway) for _ in range(3)))
            assert time.monotonic() - asked_at < READ_S + 1.5
            assert not any(each["brokerAvailable"] for found in several for each in found.values())
            between.flow()
            assert gateway.parts.broker.connected
            await gateway.submit(priority="LOW")
            assert (await until_ready(gateway, "job.low", 1))["brokerAvailable"] is True
            assert gateway.parts.publisher.left_to_dispatcher == 0
