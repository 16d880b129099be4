"""What figures and traces cost: single jobs, end to end, by the platform with and without them.

*Without figures* every hook that counts is taken out (`benchmarks.systems.bare`). *As it comes* figures are counted
and scraped every 5 s, and traces are off: what is left of them then is a look at a context variable for each
submission, and at a None for each batch. *Traces of 1 %* sends these to a collector that drops them.

`CPU` is what a job takes of gateway, orchestrator, worker and Postgres's backends together: throughput is what two
cores have left of that, and of the two figures it is the one that other work on the machine moves less.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Literal

import httpx
import psutil

from benchmarks.load.http import Endpoint
from benchmarks.measure import ACCEPTED, QUICK_LEAST, QUICK_PART, RATE, WARM_UP, rate
from benchmarks.model import Contender, Metric, Scene, Suite, Target
from benchmarks.systems.marks import VARIABLE, Marks
from benchmarks.systems.ours import COUNT, ENDS, HANDLERS, ITEM, WORKERS
from benchmarks.systems.stack import Stack, stack
from benchmarks.systems.system import Stored, System

JOBS: Final = 20_000
CONNECTIONS: Final = 64
SCRAPE_S: Final = 5.0
SAMPLED: Final = "0.01"
BARE: Final = "benchmarks.systems.bare"
CPU: Final = Metric("cpu_us", "CPU per job", "µs", "less")
BACKENDS: Final = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'distriqueue%'"
COLLECTOR_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

Variant = Literal["bare", "plain", "traced"]


async def measure(variant: Variant, scene: Scene) -> dict[str, float]:
    """Launch one of the three."""
    marks = Marks(scene.home / "marks")
    async with (
        _collector() as port,
        stack(
            scene,
            "rabbitmq",
            workers=WORKERS,
            handlers=HANDLERS,
            worker_env={VARIABLE: str(marks.path)},
            launcher=BARE if variant == "bare" else "",
            settings={"TRACING": "true"} if variant == "traced" else {},
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": SAMPLED,
            },
        ) as running,
        _scraped(running),
    ):
        endpoint = Endpoint([f"{running.url}/api/jobs"], ITEM)
        system = System(running.programs, marks, endpoint, Stored(running.database_url, COUNT, ENDS))
        before_s = await _cpu_s(running)
        figures = await rate(system, scene, jobs=JOBS, callers=CONNECTIONS)
        jobs = max(QUICK_LEAST, JOBS // QUICK_PART) + QUICK_LEAST if scene.quick else JOBS + WARM_UP
        return figures | {CPU.key: 1e6 * (await _cpu_s(running) - before_s) / jobs}


async def _cpu_s(running: Stack) -> float:
    """Add up what all have taken: backends are this launch's own, for so is its database."""
    backends = [row["pid"] for row in await running.sql(BACKENDS)]
    times = [psutil.Process(pid).cpu_times() for pid in (*running.programs.pids.values(), *backends)]
    return float(sum(each.user + each.system for each in times))


@asynccontextmanager
async def _scraped(running: Stack) -> AsyncIterator[None]:
    """Read the figures as Prometheus does, while the block runs."""

    async def scrape() -> None:
        async with httpx.AsyncClient(timeout=SCRAPE_S, trust_env=False) as client:
            while True:
                for url in running.urls:
                    await client.get(f"{url}/metrics")
                await asyncio.sleep(SCRAPE_S)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(scrape())
        try:
            yield
        finally:
            task.cancel()


@asynccontextmanager
async def _collector() -> AsyncIterator[int]:
    """Take what is sent, and drop it; yields the port."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                writer.write(COLLECTOR_ANSWER)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


WITHOUT: Final = "without figures"
AS_IT_COMES: Final = "as it comes"
TRACED: Final = "with traces of 1 %"
SUITE: Final = Suite(
    name="telemetry",
    title="What figures and traces cost, single submissions on RabbitMQ",
    metrics=(RATE, ACCEPTED, CPU),
    contenders=(
        Contender(WITHOUT, partial(measure, "bare")),
        Contender(AS_IT_COMES, partial(measure, "plain")),
        Contender(TRACED, partial(measure, "traced")),
    ),
    targets=(Target("figures cost < 3 % of throughput", RATE.key, AS_IT_COMES, ">=", 0.97, WITHOUT),),
)
