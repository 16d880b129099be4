"""Ten thousand jobs, each run exactly once; and what is left of that when a worker is killed: at least once, fenced."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from distriqueue.core.job import Priority
from tests.acceptance.client import accepted, submit
from tests.acceptance.ledger import END
from tests.acceptance.stack import Ground

pytestmark = pytest.mark.stack

JOBS: Final = int(os.environ.get("ACCEPTANCE_JOBS", "10000"))
AGAIN_S: Final = 10.0


def mixed(count: int, **payload: float) -> Iterator[dict[str, Any]]:
    """Yield jobs of all priorities in a random order."""
    rng = random.Random(count)
    for _ in range(count):
        yield {"type": "record", "priority": rng.choice(list(Priority)), "payload": payload}


async def test_every_job_runs_exactly_once(ground: Ground) -> None:
    async with ground.platform(workers=2, capacity=20) as platform:
        began_at = time.monotonic()
        ids = accepted(await submit(platform.urls, mixed(JOBS)))
        submitted_s = time.monotonic() - began_at
        assert len(ids) == len(set(ids)) == JOBS
        await platform.until_over(timeout_s=90)
        took_s = time.monotonic() - began_at
        print(f"{JOBS} jobs: submitted {JOBS / submitted_s:.0f}/s, completed {JOBS / took_s:.0f}/s")
        assert await platform.statuses() == {"completed": JOBS}
        platform.ledger.assert_each_once(ids)
        assert {row["attempt"] for row in await platform.sql("SELECT DISTINCT attempt FROM jobs")} == {1}


async def test_a_killed_workers_jobs_run_again_and_no_attempt_twice(ground: Ground) -> None:
    count = JOBS // 2
    async with ground.platform(workers=1, capacity=50) as platform:
        worker, ledger = platform.workers[0], platform.ledger
        async with asyncio.TaskGroup() as group:
            submitting = group.create_task(submit(platform.urls, mixed(count, ms=30)))
            pid = worker.pid
            await platform.until(
                lambda: ledger.count(END) > count // 4 and len(ledger.running(pid)) > 10,
                "a quarter of the jobs",
                timeout_s=60,
            )
            killed_at = await asyncio.to_thread(worker.kill)
            interrupted = ledger.running(pid)
            await asyncio.to_thread(worker.start)
        ids = accepted(submitting.result())
        assert len(ids) == count
        await platform.until_over(timeout_s=90)
        assert await platform.statuses() == {"completed": count}
        starts = ledger.starts()
        assert set(starts) == set(ids)
        assert ledger.twice() == []
        assert interrupted, "the worker was killed while it did nothing"
        again_s = [starts[job_id][1].at - killed_at for job_id in interrupted]
        print(
            f"{len(interrupted)} jobs ran at the kill; started again after {min(again_s):.2f} to {max(again_s):.2f} s"
        )
        assert max(again_s) < AGAIN_S
        # Twice ran only what the platform knows as lost: in a slot, or ended with the report still on its way out.
        lost = {
            row["id"] for row in await platform.sql("SELECT job_id::text AS id FROM attempts WHERE outcome = 'lost'")
        }
        assert {job_id for job_id, runs in starts.items() if len(runs) > 1} <= lost
        assert max(map(len, starts.values())) == 2
        print(f"{len(lost)} attempts lost with it, {len(ledger.again_after_end())} of them had ended unreported")
