"""docker-compose.yml as it really runs: the seed's commands, and what may die in it.

    ./build-run.sh soak tests/acceptance/test_compose.py

It builds the image and starts a dozen containers, twice. BUILD_NETWORK=host where only the host reaches a registry.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from distriqueue import AsyncClient, NewJob
from distriqueue.lifecycle import wait_for
from tests.acceptance import compose
from tests.acceptance.compose import Cluster
from tests.acceptance.test_seed_flow import SUBMIT

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(compose.missing() is not None, reason=f"containers: {compose.missing()}"),
]

LOGS: Final = ("orchestrator1", "api-gateway", "python-worker1")
NAP_S: Final = 3.0
NAPS: Final = 60
TAGGED: Final = "under-test"
END_S: Final = 120.0
LOAD_PER_S: Final = 40
STEADY_S: Final = 15.0
BACK_WITHIN_S: Final = 30.0
BACK_SHARE: Final = 0.8
"""Throughput has returned when so much of what it was is done again, over WINDOW_S."""
WINDOW_S: Final = 3.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that `docker-compose up -d` gives."""
    with compose.running(tmp_path_factory.mktemp("compose")) as started:
        yield started


def test_the_seeds_commands_work_word_for_word(cluster: Cluster) -> None:
    """Logs by the old service names, a job by curl, its way in the stream."""
    for service in LOGS:
        logs = cluster.shell(f"timeout 5 docker-compose logs -f {service} || [ $? = 124 ]")
        assert f"{service}" in logs
        assert '"level"' in logs
    job = json.loads(cluster.shell(SUBMIT))
    assert job["type"] == "calculate"
    follow = f"curl http://localhost:8080/api/jobs/stream?jobId={job['id']} -H 'Last-Event-ID: 0'"
    stream = cluster.shell(f"{follow} --max-time 5 || [ $? = 28 ]")
    assert "event: connected" in stream
    assert '"status":"completed"' in stream
    done = json.loads(cluster.shell(f"curl -sS http://localhost:8080/api/jobs/{job['id']}"))
    assert (done["status"], done["result"]["result"]) == ("completed", 15)


def test_postgres_is_out_of_the_workers_reach(cluster: Cluster) -> None:
    """Its name is not even known where the workers are."""
    found = cluster.compose(
        "exec",
        "-T",
        "python-worker1",
        "python",
        "-c",
        "import socket; print(socket.gethostbyname_ex('api-gateway')[0])",
    )
    assert "api-gateway" in found
    with pytest.raises(AssertionError, match="gaierror"):
        cluster.compose(
            "exec", "-T", "python-worker1", "python", "-c", "import socket; socket.gethostbyname('postgres')"
        )


async def test_jobs_complete_though_the_leader_and_a_worker_are_killed(cluster: Cluster) -> None:
    """Both die while jobs run; what the dead worker had is run again."""
    async with AsyncClient(cluster.url) as client:
        naps = [NewJob("nap", {"seconds": NAP_S}, tags=[TAGGED]) for _ in range(NAPS)]
        await client.submit_many(naps)
        await _until(client, "running", at_least=2)
        leader = await asyncio.to_thread(cluster.leader)
        await asyncio.to_thread(cluster.kill, leader)
        await asyncio.to_thread(cluster.kill, "python-worker1")
        await _until(client, "completed", at_least=NAPS)
        snapshots = [job.snapshot async for job in client.iterate(type="nap")]
        attempts = [snapshot.attempt for snapshot in snapshots if snapshot is not None]
    assert len(attempts) == NAPS
    assert max(attempts) > 1, "the worker had nothing in hand when it died"
    assert await asyncio.to_thread(cluster.leader) != leader
    await asyncio.to_thread(cluster.settle, leader, "python-worker1")
    await asyncio.to_thread(cluster.docker, "start", cluster.container(leader), cluster.container("python-worker1"))
    await asyncio.to_thread(cluster.settle)


async def test_one_of_three_rabbitmq_nodes_may_die_under_load(tmp_path: Path) -> None:
    """Nothing that was accepted is lost, throughput is back within 30 s, and the node comes back into the cluster."""
    with compose.running(tmp_path, profiles=["ha"]) as cluster:
        nodes = ("rabbitmq", "rabbitmq2", "rabbitmq3")
        assert all(members == 3 for members in _members(cluster, "rabbitmq").values())
        async with AsyncClient(cluster.url) as client, _load(client) as load:
            await asyncio.sleep(STEADY_S)
            before = load.rate_before(time.monotonic(), STEADY_S / 2)
            leader = await asyncio.to_thread(_queue_leader, cluster, "job.medium")
            await asyncio.to_thread(cluster.kill, leader)
            killed_s = time.monotonic()
            await asyncio.sleep(BACK_WITHIN_S + WINDOW_S)
            back_s = load.back_after(killed_s, BACK_SHARE * before)
        async with AsyncClient(cluster.url) as client:
            await _until(client, "completed", at_least=load.accepted)
            assert await _counted(client, "completed") == load.accepted
        print(f"{leader} killed; {before:.1f} jobs/s before, back after {back_s} s; {load.accepted} accepted")
        assert load.refused == 0
        assert back_s is not None
        assert back_s <= BACK_WITHIN_S
        await asyncio.to_thread(cluster.docker, "start", cluster.container(leader))
        await asyncio.to_thread(cluster.settle)
        assert all(members == 3 for members in _members(cluster, next(n for n in nodes if n != leader)).values())


class Load:
    """What was submitted, and how many jobs were completed when."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self.seen: list[tuple[float, int]] = []

    def rate_before(self, at_s: float, over_s: float) -> float:
        """Return the jobs completed a second, over the time before."""
        return (self._completed(at_s) - self._completed(at_s - over_s)) / over_s

    def back_after(self, from_s: float, rate: float) -> float | None:
        """Return after how many seconds jobs completed at the rate again, for WINDOW_S; None when they did not."""
        for at_s, _ in self.seen:
            if from_s <= at_s and self.rate_before(at_s + WINDOW_S, WINDOW_S) >= rate:
                return round(at_s - from_s, 1)
        return None

    def _completed(self, at_s: float) -> int:
        return max((completed for seen_s, completed in self.seen if seen_s <= at_s), default=0)


@asynccontextmanager
async def _load(client: AsyncClient) -> AsyncIterator[Load]:
    """Submit LOAD_PER_S jobs a second and count what is completed, as long as the block lasts."""
    load, stop = Load(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_submit(client, load, stop))
        group.create_task(_watch(client, load, stop))
        try:
            yield load
        finally:
            stop.set()


async def _submit(client: AsyncClient, load: Load, stop: asyncio.Event) -> None:
    began_s = time.monotonic()
    for number in count(1):
        batch = [
            NewJob("calculate", {"numbers": [1, 2, 3]}, priority=priority, tags=[TAGGED])
            for priority in ("critical", "high", "medium", "low")
        ]
        answer = await client.submit_many(batch)
        load.accepted += len(answer.jobs)
        load.refused += len(batch) - len(answer.jobs)
        if await _elapsed(stop, began_s + number * len(batch) / LOAD_PER_S):
            return


async def _watch(client: AsyncClient, load: Load, stop: asyncio.Event) -> None:
    for number in count(1):
        load.seen.append((time.monotonic(), await _counted(client, "completed")))
        if await _elapsed(stop, load.seen[0][0] + 0.5 * number):
            return


async def _elapsed(stop: asyncio.Event, at_s: float) -> bool:
    """Wait until then; tell whether to stop instead."""
    return await wait_for(stop, max(at_s - time.monotonic(), 0.001))


async def _counted(client: AsyncClient, status: str) -> int:
    return (await client.list(size=1, status=status, tag=TAGGED)).total


async def _until(client: AsyncClient, status: str, *, at_least: int) -> None:
    """Wait until so many jobs are in the state."""
    async with asyncio.timeout(END_S):
        while await _counted(client, status) < at_least:  # noqa: ASYNC110 -- it asks elsewhere
            await asyncio.sleep(0.25)


def _queue_leader(cluster: Cluster, queue: str) -> str:
    """Return the service that leads a queue; node 1 is the service without a number."""
    for row in _rabbitmqctl(cluster, "rabbitmq", "list_queues", "name", "leader"):
        if row["name"] == queue:
            return str(row["leader"]).removeprefix("rabbit@").replace("rabbitmq1", "rabbitmq")
    raise AssertionError(f"no queue {queue}")


def _members(cluster: Cluster, asked: str) -> Mapping[str, int]:
    """Return how many members of each queue are online."""
    rows = _rabbitmqctl(cluster, asked, "list_queues", "name", "online")
    return {str(row["name"]): len(list(row["online"])) for row in rows}


def _rabbitmqctl(cluster: Cluster, service: str, *arguments: str) -> list[dict[str, str]]:
    answer = cluster.compose("exec", "-T", service, "rabbitmqctl", "-q", *arguments, "--formatter", "json")
    rows: list[dict[str, str]] = json.loads(answer)
    return rows
