"""Whether what a system does gets slower by what it has stored, and by what waits.

A gateway and an orchestrator over a database that was filled before (`benchmarks.systems.filled`), in three sizes:
`few`, 10,000 jobs of a system in use; `many`, 1,000,000 of them; and `backlog`, 10,000 with 200,000 queued ones after
them, in the table and in the broker, which workers have not got to yet. (Quick: 1,000, 5,000, and 2,000 queued.)
Every launch has a fresh copy. `few` and `backlog` are measured with Postgres as the broker, too.

There is no worker: the load is made by hand, so that each step has a rate of its own. One after the other are
measured, each a closed loop, jobs (or answers) divided by the seconds from the first request to the last answer:

- `list`, `list_status`, `statistics`: `GET /api/jobs`, `GET /api/jobs?status=completed` (the first page of 20 with
  its count) and `GET /api/jobs/statistics`, 4 connections;
- `submit`: single POSTs by the load generator, 64 connections; `batch`: 1,000 jobs a POST, 4 connections;
- `claim`, `apply`: `POST /api/jobs/status` with 50 reports each, as workers send them, 8 connections: of `running`,
  then of `completed` with a result. They are of the jobs that are to be run next: with a backlog, its oldest; without
  one, those that were just submitted.

The leader's duties go on meanwhile, but for those that would look for the workers of the jobs that are claimed here:
the settings say that a worker may be silent for an hour, and that queued jobs are not sent again before that.
Retention keeps all.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic_core import to_json

from benchmarks.load.plan import Plan
from benchmarks.model import Broker, Contender, Metric, Scene, Suite, Target
from benchmarks.systems.filled import TYPE as BACKLOG_TYPE
from benchmarks.systems.filled import Filling, filled, publish_backlog
from benchmarks.systems.stack import Stack, stack
from distriqueue.broker import connect
from distriqueue.settings import LogSettings
from distriqueue.telemetry import configure_logging
from tests.acceptance.client import Connection, Reply

TYPE: Final = "growth"
WORKER: Final = "benchmark"
REPORTS: Final = 50
READERS: Final = 4
REPORTERS: Final = 8
SUBMITTERS: Final = 64
BATCHERS: Final = 4
PUBLISH_S: Final = 5.0
SETTLE_S: Final = 60.0
WARM_UP: Final = 200
KEPT: Final = 0.8
SETTINGS: Final = {
    "WORKER_TIMEOUT": "3600",
    "REQUEUE_AFTER": "3600",
    "KEEP_EVENTS_DAYS": "365",
    "KEEP_COMPLETED_DAYS": "365",
    "KEEP_FAILED_DAYS": "365",
    "KEEP_CANCELLED_DAYS": "365",
}
ITEM: Final = f'{{"type":"{TYPE}","payload":{{"n":@,"text":"{"x" * 100}"}}}}'
"""With a payload like those of the stored jobs: in gaps that their like has left, no row of this size fits."""
READS: Final = {
    "list": "/api/jobs",
    "list_status": "/api/jobs?status=completed",
    "statistics": "/api/jobs/statistics",
}
SENT: Final = "SELECT NOT EXISTS (SELECT FROM jobs WHERE status = 'pending')"
NEXT: Final = f"""
SELECT id FROM jobs WHERE status = 'queued' AND type IN ('{BACKLOG_TYPE}', '{TYPE}') ORDER BY id LIMIT $1"""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is done at each step."""

    reads: int
    singles: int
    batches: int
    batch: int
    reports: int


FULL: Final = Load(reads=400, singles=6_000, batches=20, batch=1_000, reports=20_000)
QUICK: Final = Load(reads=20, singles=200, batches=4, batch=100, reports=500)


@dataclass(frozen=True, slots=True)
class Request:
    """One request over a kept-alive connection."""

    method: str
    path: str
    body: bytes = b""


async def rate(url: str, requests: Sequence[Request], *, connections: int, items: int = 1) -> float:
    """Return the items a second, so many a request; RuntimeError when one is not answered by 200."""
    replies: list[Reply] = []
    waiting = iter(requests)

    async def call(connection: Connection) -> None:
        try:
            replies.extend([await connection.call(each.method, each.path, each.body) for each in waiting])
        finally:
            connection.close()

    began_at = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(call(Connection(url)))
    took_s = time.monotonic() - began_at
    for reply in replies:
        accepted = reply.body.count(b'"accepted"')
        if reply.status != 200 or (items > 1 and accepted != items):
            raise RuntimeError(f"answered with {reply.status}, {accepted} accepted: {reply.body[:300]!r}")
    return len(requests) * items / took_s


def reports(ids: Iterable[object], **fields: Any) -> list[Request]:
    """Return requests with a full list of reports each, of first attempts."""
    all_ids = list(ids)
    return [
        Request(
            "POST",
            "/api/jobs/status",
            to_json(
                [{"jobId": id_, "attempt": 1, "workerId": WORKER} | fields for id_ in all_ids[first : first + REPORTS]]
            ),
        )
        for first in range(0, len(all_ids) - REPORTS + 1, REPORTS)
    ]


async def measure(broker: Broker, filling: Filling, quick: Filling, scene: Scene) -> Mapping[str, float]:
    """Launch over a filled database."""
    filling, load = (quick, QUICK) if scene.quick else (filling, FULL)
    database_url = await filled(scene, filling)
    async with stack(scene, broker, workers=0, database_url=database_url, settings=SETTINGS) as platform:
        if filling.queued:
            scene.progress(f"filling the lanes with {filling.queued} dispatches")
            configure_logging(LogSettings.load(log_level="error"), service="benchmark")
            async with connect(platform.broker_url, publish_timeout_s=PUBLISH_S) as lanes:
                await publish_backlog(database_url, lanes, filling.queued)
        scene.progress("warming up")
        await platform.submit(Plan(WARM_UP, SUBMITTERS), ITEM)
        await _settled(platform)
        return {**await _reads(platform, scene, load), **await _writes(platform, scene, load)}


async def _reads(platform: Stack, scene: Scene, load: Load) -> Mapping[str, float]:
    rates = {}
    for key, path in READS.items():
        scene.progress(path)
        rates[key] = await rate(platform.url, [Request("GET", path)] * load.reads, connections=READERS)
    return rates


async def _writes(platform: Stack, scene: Scene, load: Load) -> Mapping[str, float]:
    scene.progress(f"{load.singles} single submissions")
    singles = await platform.submit(Plan(load.singles, SUBMITTERS), ITEM)
    await _settled(platform)
    scene.progress(f"{load.batches} batches")
    batches = await platform.submit(Plan(load.batches * load.batch, BATCHERS, batch=load.batch), ITEM)
    await _settled(platform)
    ids = [row["id"] for row in await platform.sql(NEXT, load.reports)]
    scene.progress(f"{len(ids)} claims")
    claims = reports(ids, status="running")
    claimed = await rate(platform.url, claims, connections=REPORTERS, items=REPORTS)
    scene.progress(f"{len(ids)} ends")
    ends = reports(ids, status="completed", result={"sum": 1})
    applied = await rate(platform.url, ends, connections=REPORTERS, items=REPORTS)
    return {
        "submit": load.singles / (singles.last_ns - singles.first_ns) * 1e9,
        "batch": load.batches * load.batch / (batches.last_ns - batches.first_ns) * 1e9,
        "claim": claimed,
        "apply": applied,
    }


async def _settled(platform: Stack) -> None:
    """Wait until all that was submitted is in the lanes, so that the next figure is not of that."""
    await platform.until(SENT, "the dispatch of what was submitted", timeout_s=SETTLE_S)


TITLES: Final = {
    "submit": "submit",
    "batch": "submit in batches",
    "claim": "claim",
    "apply": "apply ends",
    "list": "list",
    "list_status": "list by status",
    "statistics": "statistics",
}
FEW: Final = Filling(10_000), Filling(1_000)
MANY: Final = Filling(1_000_000), Filling(5_000)
LONG: Final = Filling(10_000, queued=200_000), Filling(1_000, queued=2_000)
ON: Final[Mapping[Broker, str]] = {"rabbitmq": "", "postgres": " (Postgres)"}
CONTENDERS: Final[tuple[tuple[str, Broker, tuple[Filling, Filling]], ...]] = (
    ("few", "rabbitmq", FEW),
    ("many", "rabbitmq", MANY),
    ("backlog", "rabbitmq", LONG),
    ("few", "postgres", FEW),
    ("backlog", "postgres", LONG),
)
SUITE: Final = Suite(
    name="growth",
    title="few: 10,000 jobs stored, many: 1,000,000, backlog: 200,000 queued; on RabbitMQ or Postgres",
    metrics=tuple(Metric(key, title, "/s", "more") for key, title in TITLES.items()),
    contenders=tuple(
        Contender(f"{name}{ON[broker]}", partial(measure, broker, *fillings)) for name, broker, fillings in CONTENDERS
    ),
    targets=tuple(
        Target(
            f"{title}: {name} ≥ {KEPT:g} × few{ON[broker]}",
            key,
            f"{name}{ON[broker]}",
            ">=",
            KEPT,
            f"few{ON[broker]}",
        )
        for name, broker, fillings in CONTENDERS
        if fillings is not FEW
        for key, title in TITLES.items()
    ),
)
