"""How soon urgent jobs start while the lowest lane is flooded.

One worker of ten slots. 20,000 LOW jobs of 10 ms (asleep, so that slots and not the machine are short) are submitted
in batches of 1,000. Then, while most of them still wait, CRITICAL jobs that take no time arrive at 20 a second for 10
s (quick: 1,500 and 1 s), by an open loop. Before the flood the same arrivals are measured in a system that has
nothing else to do.

`start` is the time from when a POST was due to when the handler was called, by one clock. `low` is how many LOW jobs
were claimed a second during those 10 s, `low_alone` in the seconds before, without CRITICAL jobs; ten slots and 10 ms
allow 1,000 at most. A flood that is over before the last CRITICAL job fails the launch.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from benchmarks.load.plan import Plan, Submitted
from benchmarks.measure import quantile
from benchmarks.model import Broker, Contender, Metric, Scene, Suite
from benchmarks.systems.stack import Stack, stack

HANDLERS: Final = "benchmarks.systems.work:registry"
SLOTS: Final = 10
LOW_MS: Final = 10
FLOOD: Final = 20_000
QUICK_FLOOD: Final = 1_500
BATCH: Final = 500
PER_S: Final = 20.0
ARRIVALS: Final = 200
QUICK_ARRIVALS: Final = 20
ALONE_S: Final = 2.0
QUICK_ALONE_S: Final = 0.2
CALLERS: Final = 16
STARTED_S: Final = 30.0

LOW: Final = f'{{"type":"wait","priority":"LOW","payload":{{"n":@,"ms":{LOW_MS}}}}}'
CRITICAL: Final = '{"type":"wait","priority":"CRITICAL","payload":{"n":@,"ms":0}}'
URGENT_OVER: Final = "SELECT NOT EXISTS (SELECT FROM jobs WHERE priority = 'CRITICAL' AND finished_at IS NULL)"
STARTS: Final = """
SELECT (payload->>'n')::int AS number, (result->>'started_ns')::bigint AS ns
  FROM jobs WHERE priority = 'CRITICAL' AND (payload->>'n')::int >= $1 ORDER BY number"""
CLAIMED: Final = """
SELECT count(*) FROM jobs WHERE priority = 'LOW' AND started_at BETWEEN to_timestamp($1) AND to_timestamp($2)"""
LEFT: Final = "SELECT count(*) FROM jobs WHERE priority = 'LOW' AND started_at IS NULL"


async def measure(broker: Broker, scene: Scene) -> Mapping[str, float]:
    """Launch on this broker."""
    arrivals, flood = (QUICK_ARRIVALS, QUICK_FLOOD) if scene.quick else (ARRIVALS, FLOOD)
    async with stack(scene, broker, capacity=SLOTS, handlers=HANDLERS) as platform:
        scene.progress("CRITICAL jobs alone")
        _, quiet_ms = await _urgent(platform, arrivals, first=0)
        scene.progress(f"a flood of {flood} LOW jobs")
        flooded = await platform.submit(Plan(flood, callers=4, batch=BATCH), LOW)
        await asyncio.sleep(QUICK_ALONE_S if scene.quick else ALONE_S)
        scene.progress("CRITICAL jobs in the flood")
        urgent, starts_ms = await _urgent(platform, arrivals, first=arrivals)
        ((left,),) = await platform.sql(LEFT)
        if not left:
            raise RuntimeError("the flood was over before the last CRITICAL job came")
        alone = await _claims_per_s(platform, urgent.wall_ns, flooded.last_ns, urgent.due_ns[0])
        low = await _claims_per_s(platform, urgent.wall_ns, urgent.due_ns[0], urgent.due_ns[-1])
    return {
        "quiet_p50": quantile(quiet_ms, 0.5),
        "quiet_p99": quantile(quiet_ms, 0.99),
        "start_p50": quantile(starts_ms, 0.5),
        "start_p99": quantile(starts_ms, 0.99),
        "low_alone": alone,
        "low": low,
    }


async def _urgent(platform: Stack, arrivals: int, *, first: int) -> tuple[Submitted, list[float]]:
    """Let CRITICAL jobs arrive; return how long each waited for its start, in ms."""
    submitted = await platform.submit(Plan(arrivals, CALLERS, per_s=PER_S, first=first), CRITICAL)
    await platform.until(URGENT_OVER, "the end of the CRITICAL jobs", timeout_s=STARTED_S)
    starts = await platform.sql(STARTS, first)
    waits = [(row["ns"] - due_ns) / 1e6 for row, due_ns in zip(starts, submitted.due_ns, strict=True)]
    return submitted, waits


async def _claims_per_s(platform: Stack, wall_ns: int, from_ns: int, to_ns: int) -> float:
    """Return how many LOW jobs were claimed a second between two times of `time.monotonic_ns`."""
    between = (from_ns + wall_ns) / 1e9, (to_ns + wall_ns) / 1e9
    ((claimed,),) = await platform.sql(CLAIMED, *between)
    return float(claimed) / (between[1] - between[0])


SUITE: Final = Suite(
    name="lanes",
    title="CRITICAL jobs at 20/s in a flood of 20,000 LOW ones",
    metrics=(
        Metric("start_p50", "POST → start p50", "ms", "less"),
        Metric("start_p99", "POST → start p99", "ms", "less"),
        Metric("quiet_p50", "without flood p50", "ms", "less"),
        Metric("quiet_p99", "without flood p99", "ms", "less"),
        Metric("low", "LOW jobs", "/s", "more"),
        Metric("low_alone", "LOW jobs alone", "/s", "more"),
    ),
    contenders=(
        Contender("on RabbitMQ", partial(measure, "rabbitmq")),
        Contender("on Postgres", partial(measure, "postgres"), quick=False),
    ),
)
