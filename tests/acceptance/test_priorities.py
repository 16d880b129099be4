"""A flood in the lowest lane delays the highest one by less than a quarter of a second, and still moves itself."""

import asyncio
import statistics
from typing import Any, Final

import pytest

from tests.acceptance.client import accepted, submit
from tests.acceptance.stack import Ground

pytestmark = pytest.mark.stack

FLOOD: Final = 5000
URGENT: Final = 60
BETWEEN_S: Final = 0.06
WAIT_P95_MS: Final = 250.0

WAITS: Final = """
SELECT 1000 * extract(epoch FROM started_at - created_at)::float8 AS ms
  FROM jobs WHERE priority = 'CRITICAL' ORDER BY ms
"""
LOW_MEANWHILE: Final = """
SELECT count(*)
  FROM jobs, (SELECT min(created_at) AS first, max(started_at) AS last FROM jobs WHERE priority = 'CRITICAL') u
 WHERE priority = 'LOW' AND jobs.started_at BETWEEN u.first AND u.last
"""


async def test_critical_jobs_start_at_once_in_a_flood_of_low_ones(ground: Ground) -> None:
    async with ground.platform(workers=1, capacity=10) as platform:
        low: dict[str, Any] = {"type": "record", "priority": "LOW", "payload": {"ms": 20}}
        critical = low | {"priority": "CRITICAL"}
        async with asyncio.TaskGroup() as group:
            flood = group.create_task(submit(platform.urls, (low for _ in range(FLOOD)), connections=16))
            await platform.until(lambda: platform.ledger.count("end") > 100, "the flood to rise")
            urgent = []
            for _ in range(URGENT):
                reply = await submit([platform.url], [critical], connections=1)
                urgent += accepted(reply)
                await asyncio.sleep(BETWEEN_S)  # paced, as by people; nothing is waited for
        assert len(accepted(flood.result())) == FLOOD
        assert len(urgent) == URGENT
        (left,) = await platform.sql("SELECT count(*) FROM jobs WHERE priority = 'LOW' AND started_at IS NULL")
        assert left["count"], "the flood was over before the last critical job came"
        await platform.until_over(timeout_s=60)
        waits = [row["ms"] for row in await platform.sql(WAITS)]
        (moved,) = await platform.sql(LOW_MEANWHILE)
        cuts = statistics.quantiles(waits, n=100, method="inclusive")
        p50, p95, p99 = cuts[49], cuts[94], cuts[98]
        print(f"waits: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, most {waits[-1]:.1f} ms")
        print(f"low jobs meanwhile: {moved['count']}; left at the last critical one: {left['count']}")
        assert p95 < WAIT_P95_MS
        assert moved["count"] > URGENT
        assert await platform.statuses() == {"completed": FLOOD + URGENT}
