"""No orchestrator at all for a while, healthy workers with long jobs: nobody is reaped when one comes back.

12 seconds by default, well beyond the 5 after which a silent worker is given up; `ACCEPTANCE_AWAY_S=60` for a minute.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.client import submit
from tests.acceptance.stack import Ground

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

AWAY_S = float(os.environ.get("ACCEPTANCE_AWAY_S", "12"))
AFTER_S = 8.0
"""How long the jobs still run after it is back: more than the reaper's window."""
JOBS = 10


async def test_an_outage_of_ours_reaps_no_healthy_worker(tmp_path: Path, database_url: str) -> None:
    ground = Ground(tmp_path, database_url, database_url)
    async with ground.platform(workers=2, capacity=10) as platform:
        long = {"type": "record", "payload": {"ms": (AWAY_S + AFTER_S) * 1000}}
        replies = await submit(platform.urls, (long for _ in range(JOBS)))
        ids: list[Any] = [reply.json()["id"] for reply in replies]
        await platform.until(lambda: platform.ledger.count("start") == JOBS, "all to start")
        await asyncio.to_thread(platform.orchestrator.kill)
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(platform.orchestrator.start)
        await platform.until_over(timeout_s=AFTER_S + 20)
        assert await platform.statuses() == {"completed": JOBS}
        platform.ledger.assert_each_once(ids)
        assert await platform.sql("SELECT id FROM jobs WHERE attempt > 1 OR losses > 0") == []
        assert await platform.sql("SELECT job_id FROM attempts") == []
