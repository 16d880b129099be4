"""Heartbeats through the registry into a real database, over HTTP, and a whole node as a process."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from distriqueue.core.errors import StoreUnavailable, Unavailable
from distriqueue.core.job import JobId
from distriqueue.core.messages import Heartbeat
from distriqueue.lifecycle import wait_for
from distriqueue.local.ports import free_block
from orchestrator.metrics import Metrics
from orchestrator.registry import Registry
from tests.integration.leader import Leader, leading
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


@pytest.fixture
async def registry(leader: Leader) -> Registry:
    registry = Registry(leader.workers, observer=Metrics())
    await registry.flush()
    return registry


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"capacity": 4, "current_load": 0}, "IDLE"),
        ({"capacity": 4, "current_load": 1}, "ACTIVE"),
        ({"capacity": 4, "current_load": 4}, "OVERLOADED"),
        ({"capacity": 4, "current_load": 4, "stopping": True}, "SHUTTING_DOWN"),
        ({"capacity": 4, "stopping": True, "stopped": True}, "STOPPED"),
    ],
)
async def test_what_a_worker_says_is_its_state(
    leader: Leader, registry: Registry, said: dict[str, Any], state: str
) -> None:
    registry.hear(Heartbeat(worker_id="w1", types=["b", 'a "quoted", one'], version="1.2", **said))
    await registry.flush()
    (row,) = await leader.workers.page(after="", limit=10)
    assert (row["state"], row["capacity"], row["types"]) == (state, 4, ["b", 'a "quoted", one'])
    assert (await leader.now() - row["last_seen"]).total_seconds() < 5


async def test_the_newest_of_a_flush_counts_and_heals_the_unresponsive(leader: Leader, registry: Registry) -> None:
    await leader.beat("w1", ago_s=60)
    await leader.database.fetch("UPDATE workers SET state = 'UNRESPONSIVE'")
    for load in (0, 2):
        registry.hear(Heartbeat(worker_id="w1", capacity=4, current_load=load))
    await registry.flush()
    assert await leader.worker_state("w1") == "ACTIVE"
    first_seen, last_seen = (await leader.database.fetch("SELECT first_seen, last_seen FROM workers"))[0]
    assert first_seen <= last_seen


async def test_commands_come_with_the_answer_after_the_next_flush(leader: Leader, registry: Registry) -> None:
    job_id, other = await leader.submit(), await leader.submit()
    await leader.run_on("w1", job_id)
    await leader.run_on("w2", other)
    for worker_id in ("w1", "w2"):
        assert registry.hear(Heartbeat(worker_id=worker_id)) is None
    await registry.flush()
    await leader.jobs.cancel(job_id)
    await leader.database.fetch("UPDATE workers SET drain_requested = true WHERE id = 'w2'")
    await registry.flush()  # though neither was heard since the last
    first, second = registry.hear(Heartbeat(worker_id="w1")), registry.hear(Heartbeat(worker_id="w2"))
    assert first is not None
    assert second is not None
    assert (first.cancel, first.drain) == ([job_id], False)
    assert (second.cancel, second.drain) == ([], True)
    await leader.change(job_id, "status = 'cancelled', finished_at = now()")
    await registry.flush()
    assert registry.hear(Heartbeat(worker_id="w1")) is None


async def test_an_outage_of_postgres_is_a_gap(database_url: str, postgres_server: PostgresServer) -> None:
    async with leading(database_url) as leader:
        registry = Registry(leader.workers, observer=Metrics())
        await registry.flush()
        registry.hear(Heartbeat(worker_id="gone", stopped=True))
        registry.hear(Heartbeat(worker_id="living"))
        postgres_server.stop()
        try:
            with pytest.raises(StoreUnavailable):
                await registry.flush()
            with pytest.raises(Unavailable, match="cannot record heartbeats"):
                registry.hear(Heartbeat(worker_id="living"))
            await asyncio.sleep(2.1)  # longer than what is not a gap
        finally:
            postgres_server.start()
        await registry.flush()
        assert registry.recording is not None
        assert registry.recording.unbroken_s == 0
        assert [row["id"] for row in await leader.workers.page(after="", limit=10)] == ["gone"]


@contextlib.asynccontextmanager
async def node(
    database_url: str, **settings: str
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.subprocess.Process]]:
    """Run a node as a process until the block ends; then it must have stopped in good order."""
    port = free_block()
    environment = os.environ | {
        "DISTRIQUEUE_DATABASE_URL": database_url,
        "DISTRIQUEUE_BROKER_URL": database_url,
        "DISTRIQUEUE_ORCHESTRATOR_PORT": str(port),
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
            yield client, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            await process.communicate()


async def ready(client: httpx.AsyncClient) -> None:
    for _ in range(200):
        with contextlib.suppress(httpx.TransportError):
            if (await client.get("/api/health")).status_code == 200:
                return
        await asyncio.sleep(0.05)
    raise TimeoutError("the node did not become ready within 10 s")


async def until(leader: Leader, job_id: JobId, status: str) -> None:
    for _ in range(200):
        if await leader.statuses(job_id) == [status]:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"the job did not become {status} within 10 s")


async def test_a_node_leads_works_and_stops_in_good_order(leader: Leader, database_url: str) -> None:
    job_id = await leader.submit(due_in_s=-1)
    async with node(database_url, DISTRIQUEUE_NODE_ID="node7") as (client, process):
        await ready(client)
        await until(leader, job_id, "queued")
        status = (await client.get("/api/cluster/status")).json()
        assert (status["node"], status["role"], status["leader"]) == ("node7", "leader", "node7")
        assert status["epoch"] == 2
        assert status["established"] is True
        assert status["duties"]["scheduler"]["count"] == 1
        answer = await client.post("/api/workers/heartbeat", json={"worker_id": "w1", "stopped": True})
        assert answer.json() == {"status": "acknowledged", "cancel": [], "drain": False, "paused": []}
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert await leader.worker_state("w1") == "STOPPED"  # flushed at the end


async def test_a_fenced_node_claims_again_above(leader: Leader, database_url: str) -> None:
    async with node(database_url) as (client, _):
        await ready(client)
        assert (await leader.leadership.claim(9, node="node2", boot="boot2")).won
        job_id = await leader.submit(due_in_s=-1)
        await until(leader, job_id, "queued")
        assert (await client.get("/api/cluster/status")).json()["epoch"] == 10


async def test_a_suspended_node_ends_nothing_of_a_healthy_worker(leader: Leader, database_url: str) -> None:
    job_id = await leader.submit()
    await leader.run_on("w1", job_id)
    healthy = asyncio.Event()

    async def beat(client: httpx.AsyncClient) -> None:
        while not healthy.is_set():
            with contextlib.suppress(httpx.TransportError):
                await client.post("/api/workers/heartbeat", json={"workerId": "w1", "currentLoad": 1}, timeout=0.3)
            await wait_for(healthy, 0.2)

    async with node(database_url, DISTRIQUEUE_WORKER_TIMEOUT="1.5") as (client, process):
        await ready(client)
        async with asyncio.TaskGroup() as group:
            group.create_task(beat(client))
            await asyncio.sleep(2)  # the reaper is at work
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(3)
            process.send_signal(signal.SIGCONT)
            await asyncio.sleep(3)
            assert await leader.statuses(job_id) == ["running"]
            assert (await client.get("/api/cluster/status")).json()["duties"]["reaper"]["note"] is None
            healthy.set()
        await until(leader, job_id, "queued")  # lost with its worker, and sent again
        assert (await leader.row(job_id))["attempt"] == 2


async def test_a_node_without_its_database_says_so_and_stops(database_url: str) -> None:
    async with node("postgresql://postgres@127.0.0.1:1/none", DISTRIQUEUE_BROKER_URL=database_url) as (client, _):
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                health = await client.get("/api/health")
                break
            await asyncio.sleep(0.05)
        assert health.status_code == 503
        assert health.json() == {"status": "DOWN"}  # who asks is not known without Postgres, so no more is said
        beat = await client.post("/api/workers/heartbeat", json={"workerId": "w1"})
        assert (beat.status_code, beat.headers["retry-after"]) == (503, "1")
        assert (await client.get("/api/workers")).status_code == 503


async def test_a_wrong_setting_stops_the_start_with_its_name(database_url: str) -> None:
    async with node(database_url, DISTRIQUEUE_ORCHESTRATOR_HOST="0.0.0.0") as (_, process):
        _, stderr = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 2
        assert stderr.startswith(b"orchestrator: DISTRIQUEUE_ORCHESTRATOR_HOST=0.0.0.0 would serve everyone")
        assert stderr.count(b"\n") == 1
