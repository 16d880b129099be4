"""What a thousand idle workers' heartbeats cost the orchestrators.

The orchestrators are real processes over Postgres and RabbitMQ; the workers are not: one process (the benchmark's own)
has a kept-alive connection for each of a thousand, and posts every other second, jittered, as an idle worker does, what
`workers.runtime.heartbeat` would post: the same model's JSON, httpx's headers, head and body written apart. Of a
cluster each worker chooses a node at random, as workers do, so each node hears a third.

Measured are the CPU times (user and system, by psutil) of the orchestrators' processes over 20 s (quick: 3 s) of beats,
summed over all nodes, in % of one core; before that the same without any heartbeat, for 10 s (quick: 1 s): election,
duties and flushes of nothing. What the heartbeats cost is the one less the other. `postgres` is the CPU of the backends
that serve the orchestrators, in the same 20 s. A beat that is not answered with 200 counts as refused, as by a node
that cannot record it: the figures hold only where none is.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import httpx

from benchmarks.measure import quantile
from benchmarks.model import Contender, Metric, Scene, Suite, Target
from benchmarks.systems.followers import allow_files
from benchmarks.systems.meter import Meter
from benchmarks.systems.orchestrators import orchestrators
from distriqueue import __version__
from distriqueue.core.messages import Heartbeat
from tests.acceptance.cluster import Cluster
from workers.handlers import default_registry
from workers.runtime import access
from workers.runtime.heartbeat import IDLE_EVERY_S, PATH, period_s

WORKERS: Final = 1_000
CAPACITY: Final = 10
TYPES: Final = default_registry().types
WARM_UP_S: Final = 3.0
OVER_S: Final = 20.0
IDLE_S: Final = 10.0
QUICK_OVER_S: Final = 3.0
QUICK_IDLE_S: Final = 1.0
ANSWER_S: Final = 5.0
SPARE_FILES: Final = 200
MOST_CPU: Final = 10.0

BACKENDS: Final = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'distriqueue%'"


class Beats:
    """The heartbeats of one worker, and how long their answers took."""

    def __init__(self, request: httpx.Request, rng: random.Random) -> None:
        self._rng = rng
        self._host, self._port = request.url.host, request.url.port
        self._head, self._body = _head(request), request.content
        self.took_s: list[float] = []
        self.refused = 0

    async def run(self) -> None:
        """Beat until cancelled."""
        await asyncio.sleep(IDLE_EVERY_S * self._rng.random())
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            while True:
                began_at = time.monotonic()
                writer.write(self._head)
                writer.write(self._body)
                async with asyncio.timeout(ANSWER_S):
                    status = await _answer(reader)
                self.refused += status != b"200"
                self.took_s.append(time.monotonic() - began_at)
                await asyncio.sleep(began_at + period_s(IDLE_EVERY_S, self._rng.random()) - time.monotonic())
        finally:
            writer.transport.abort()


async def measure(nodes: int, scene: Scene) -> Mapping[str, float]:
    """Launch so many orchestrators."""
    allow_files(WORKERS + SPARE_FILES)
    async with orchestrators(scene, nodes) as cluster:
        scene.progress("without heartbeats")
        pids = [node.pid for node in cluster.nodes]
        idle = Meter(pids)
        await asyncio.sleep(QUICK_IDLE_S if scene.quick else IDLE_S)
        idle_cpu = sum(idle.read())
        async with beating([node.url for node in cluster.nodes]) as workers:
            scene.progress(f"heartbeats of {WORKERS} workers")
            await asyncio.sleep(WARM_UP_S)
            leader = await cluster.settled()
            for worker in workers:
                worker.took_s.clear()
                worker.refused = 0
            meter, postgres = Meter(pids), Meter(await _backends(cluster))
            began_at = time.monotonic()
            await asyncio.sleep(QUICK_OVER_S if scene.quick else OVER_S)
            used, used_by_postgres, over_s = meter.read(), postgres.read(), time.monotonic() - began_at
            took_s = [each for worker in workers for each in worker.took_s]
    return {
        "cost": sum(used) - idle_cpu,
        "cpu": sum(used),
        "leader_cpu": used[cluster.nodes.index(leader)],
        "idle_cpu": idle_cpu,
        "postgres_cpu": sum(used_by_postgres),
        "beats": len(took_s) / over_s,
        "refused": sum(worker.refused for worker in workers) / over_s,
        "answer_p50": 1000 * quantile(took_s, 0.5),
        "answer_p99": 1000 * quantile(took_s, 0.99),
    }


@asynccontextmanager
async def beating(urls: Sequence[str]) -> AsyncIterator[list[Beats]]:
    """Let a thousand workers beat while the block runs; one that gets no answer at all ends it."""
    rng = random.Random(1)
    with httpx.Client(headers=access.headers(None), trust_env=False) as http:
        workers = [
            Beats(http.build_request("POST", f"{rng.choice(urls)}{PATH}", content=_beat(number)), rng)
            for number in range(WORKERS)
        ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker.run()) for worker in workers]
        yield workers
        for task in tasks:
            task.cancel()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return the status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    return head[9:12]


def _beat(number: int) -> str:
    beat = Heartbeat(worker_id=f"benchmark{number}", capacity=CAPACITY, types=TYPES, version=__version__)
    return beat.model_dump_json(by_alias=True)


def _head(request: httpx.Request) -> bytes:
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
    return b"POST " + request.url.raw_path + b" HTTP/1.1\r\n" + fields + b"\r\n"


async def _backends(cluster: Cluster) -> list[int]:
    return [row["pid"] for row in await cluster.sql.fetch(BACKENDS, timeout=10)]


ONE: Final = "one node"
THREE: Final = "cluster of three"
SUITE: Final = Suite(
    name="heartbeats",
    title="1,000 idle workers' heartbeats: CPU of the orchestrators, in % of one core",
    metrics=(
        Metric("cost", "the heartbeats", "%", "less"),
        Metric("cpu", "all orchestrators", "%", "less"),
        Metric("leader_cpu", "the leader alone", "%", "less"),
        Metric("idle_cpu", "without heartbeats", "%", "less"),
        Metric("postgres_cpu", "their Postgres backends", "%", "less"),
        Metric("beats", "heartbeats", "/s", "more"),
        Metric("refused", "of them refused", "/s", "less"),
        Metric("answer_p50", "answer p50", "ms", "less"),
        Metric("answer_p99", "answer p99", "ms", "less"),
    ),
    contenders=(Contender(ONE, partial(measure, 1), quick=False), Contender(THREE, partial(measure, 3))),
    targets=tuple(
        Target(f"1,000 idle workers' heartbeats cost {name} < 10 % of a core", "cost", name, "<=", MOST_CPU)
        for name in (ONE, THREE)
    ),
)
