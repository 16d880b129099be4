"""What 1,000 clients of the event stream take from the gateway, and how late their events come.

The load: a thousand events a second, which are steps of progress of jobs of the type `tick`: the benchmark plays
their worker, and reports ten steps every 10 ms. There is no real worker, and every contender has this load, also
without clients.

The contenders: nobody follows; 1,000 clients (quick: 50) follow the type `tick` (`?type=tick`), so that each gets
just these thousand events a second, a million deliveries, whatever else happens; 1,000 clients follow everything.

Two phases. *Quiet*: only that load, for 5 s. *Busy*: also, single POSTs of other jobs over 64 connections, as fast as
the gateway answers them; `submit` is their rate. Each makes two events of its own (pending, queued), which only the
clients that follow everything get: at 2,000 POSTs/s theirs are 5,000 events a second, far beyond the target's load.

`late` is the time from an event's own stamp (the moment of its INSERT, before its commit) to its arrival in the
clients' process, over all deliveries. That process (`benchmarks.systems.followers`) only searches bytes, but takes
its share of the machine, which without clients is the gateway's and Postgres's: `clients_cpu` says how much. A
gateway that serves fewer events than there are shows by `events`, the deliveries to one client a second.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

from pydantic_core import to_json

from benchmarks.load.plan import Plan
from benchmarks.model import Contender, Metric, Scene, Suite, Target
from benchmarks.systems.followers import Followers, allow_files, following
from benchmarks.systems.meter import Meter
from benchmarks.systems.stack import Stack, stack
from tests.acceptance.client import Connection

CLIENTS: Final = 1_000
QUICK_CLIENTS: Final = 50
SPARE_FILES: Final = 500
TICKING: Final = 500
"""Jobs that run: of two reports of one job in one commit only the newer counts."""
TICK_S: Final = 0.01
STEPS: Final = 10
REPORTERS: Final = 50
QUIET_S: Final = 5.0
QUICK_QUIET_S: Final = 1.0
WARM_UP: Final = 200
WARM_UP_S: Final = 1.0
FLOOD: Final = 15_000
QUICK_FLOOD: Final = 300
CONNECTIONS: Final = 64
PATIENCE: Final = {"WORKER_TIMEOUT": "3600"}
"""Nobody hears of the worker of the ticking jobs."""
READY_S: Final = 30.0
KEPT: Final = 0.7
LATEST_MS: Final = 150.0

TICK: Final = '{"type":"tick","payload":{"n":@},"executionTimeout":3600}'
OTHER: Final = '{"type":"add","payload":{"a":@,"b":1}}'
QUEUED: Final = f"SELECT count(*) = {TICKING} FROM jobs WHERE status = 'queued'"
IDS: Final = "SELECT id FROM jobs WHERE type = 'tick'"
NOBODY: Final = ""
ONE_TYPE: Final = "/api/jobs/stream?type=tick"
EVERYTHING: Final = "/api/jobs/stream"


class Ticker:
    """A thousand events a second."""

    def __init__(self, url: str, ids: list[Any]) -> None:
        self._url = url
        self._ids = ids

    async def claim(self) -> None:
        """Claim all of the jobs."""
        connection = Connection(self._url)
        try:
            await self._report(connection, [{"jobId": id_, "status": "running"} for id_ in self._ids])
        finally:
            connection.close()

    async def run(self) -> None:
        """Report steps until cancelled."""
        began_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for place in range(REPORTERS):
                group.create_task(self._run(place, began_at))

    async def _run(self, place: int, began_at: float) -> None:
        connection = Connection(self._url)
        try:
            number = place
            while True:
                await asyncio.sleep(max(began_at + number * TICK_S - time.monotonic(), 0))
                turn, first = divmod(number * STEPS, len(self._ids))
                step = {"status": "running", "progress": turn % 100}
                await self._report(connection, [{"jobId": id_} | step for id_ in self._ids[first : first + STEPS]])
                number += REPORTERS
        finally:
            connection.close()

    async def _report(self, connection: Connection, reports: list[dict[str, Any]]) -> None:
        body = to_json([{"attempt": 1, "workerId": "benchmark"} | report for report in reports])
        reply = await connection.call("POST", "/api/jobs/status", body)
        if reply.status != 200 or reply.body.count(b'"accepted"') != len(reports):
            raise RuntimeError(f"a report was answered with {reply.status}: {reply.body[:300]!r}")


async def measure(path: str, scene: Scene) -> Mapping[str, float]:
    """Launch with clients of this path, or without."""
    clients, jobs = (QUICK_CLIENTS, QUICK_FLOOD) if scene.quick else (CLIENTS, FLOOD)
    allow_files(clients + SPARE_FILES)  # of the gateway too, which inherits the limit
    async with AsyncExitStack() as opened:
        platform = await opened.enter_async_context(stack(scene, "rabbitmq", workers=0, settings=PATIENCE))
        await opened.enter_async_context(_ticking(platform))
        followers: Followers | None = None
        if path != NOBODY:
            scene.progress(f"connecting {clients} clients")
            followers = await opened.enter_async_context(following(platform.url, path, clients=clients))
        await platform.submit(Plan(WARM_UP, CONNECTIONS), OTHER)
        await asyncio.sleep(WARM_UP_S)
        scene.progress("quiet: 1,000 events a second")
        async with _watched(platform, followers, clients) as quiet:
            await asyncio.sleep(QUICK_QUIET_S if scene.quick else QUIET_S)
        scene.progress(f"busy: {jobs} jobs")
        async with _watched(platform, followers, clients) as busy:
            submitted = await platform.submit(Plan(jobs, CONNECTIONS), OTHER)
    return {
        "submit": jobs / (submitted.last_ns - submitted.first_ns) * 1e9,
        **{f"busy_{key}": figure for key, figure in busy.items()},
        **{f"quiet_{key}": figure for key, figure in quiet.items()},
    }


@asynccontextmanager
async def _ticking(platform: Stack) -> AsyncIterator[None]:
    """Make a thousand events a second while the block runs."""
    await platform.submit(Plan(TICKING, 1, batch=TICKING), TICK)
    await platform.until(QUEUED, "the dispatch of the ticking jobs", timeout_s=READY_S)
    ticker = Ticker(platform.url, [row["id"] for row in await platform.sql(IDS)])
    await ticker.claim()
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(ticker.run())
        yield
        ticking.cancel()


@asynccontextmanager
async def _watched(platform: Stack, followers: Followers | None, clients: int) -> AsyncIterator[dict[str, float]]:
    """Yield figures that are there after the block, of what happens in it."""
    figures: dict[str, float] = {}
    if followers is not None:
        await followers.reset()
    meter = Meter([platform.programs.pids["gateway"]])
    yield figures
    figures["gateway_cpu"] = meter.read()[0]
    if followers is not None:
        seen = await followers.figures()
        if seen.ended:
            raise RuntimeError(f"{seen.ended} of {clients} streams were cut off")
        figures["events"] = seen.events / clients / seen.took_s
        figures["late_p50"], figures["late_p99"] = seen.p50_ms, seen.p99_ms
        figures["clients_cpu"] = 100 * seen.cpu_s / seen.took_s


WITHOUT: Final = "nobody follows"
TICKS: Final = "1,000 follow a type"
ALL: Final = "1,000 follow everything"
SUITE: Final = Suite(
    name="streams",
    title="1,000 clients of the event stream at 1,000 events/s",
    metrics=(
        Metric("submit", "submitted", "/s", "more"),
        *(
            metric
            for phase in ("busy", "quiet")
            for metric in (
                Metric(f"{phase}_late_p50", f"{phase}: late p50", "ms", "less"),
                Metric(f"{phase}_late_p99", f"{phase}: late p99", "ms", "less"),
                Metric(f"{phase}_events", f"{phase}: to each", "/s", "more"),
                Metric(f"{phase}_gateway_cpu", f"{phase}: gateway", "%", "less"),
                Metric(f"{phase}_clients_cpu", f"{phase}: clients", "%", "less"),
            )
        ),
    ),
    contenders=(
        Contender(WITHOUT, partial(measure, NOBODY)),
        Contender(TICKS, partial(measure, ONE_TYPE)),
        Contender(ALL, partial(measure, EVERYTHING)),
    ),
    targets=(
        Target(f"{TICKS}: the gateway keeps ≥ {KEPT:g} × its throughput", "submit", TICKS, ">=", KEPT, WITHOUT),
        Target(f"{TICKS}: event → client p99 ≤ {LATEST_MS:g} ms", "busy_late_p99", TICKS, "<=", LATEST_MS),
        Target(f"{ALL}, quiet: event → client p99 ≤ {LATEST_MS:g} ms", "quiet_late_p99", ALL, "<=", LATEST_MS),
    ),
)
