"""What may happen to an attempt: its worker drains, a client cancels it, it fails, it takes too long."""

import asyncio
import time
from typing import Any, Final

import pytest

from tests.acceptance.client import accepted, call, get, submit
from tests.acceptance.ledger import BROKEN_OFF, START
from tests.acceptance.stack import Ground, Platform

pytestmark = pytest.mark.stack

CANCEL_S: Final = 2.0
LATE_S: Final = 1.5
"""How much later than due a retry may start: the scheduler's turn, a dispatch and a claim, on a busy machine."""


Jobs = list[dict[str, Any]]


def record(ms: float, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "payload": {"ms": ms}} | fields


async def started(platform: Platform, count: int) -> None:
    await platform.until(lambda: platform.ledger.count(START) >= count, f"{count} starts")


async def test_a_draining_worker_lets_short_jobs_end_and_leaves_the_rest(ground: Ground) -> None:
    async with ground.platform(workers=2, capacity=5) as platform:
        leaving = platform.workers[0]
        ids = accepted(await submit(platform.urls, [record(200)] * 60))
        await started(platform, 15)
        assert await asyncio.to_thread(leaving.stop) == 0
        await platform.until_over()
        assert await platform.statuses() == {"completed": 60}
        platform.ledger.assert_each_once(ids)
        assert {row["attempt"] for row in await platform.sql("SELECT DISTINCT attempt FROM jobs")} == {1}
        assert {entry.worker for entry in platform.ledger.entries()} == {"worker1", "worker2"}


async def test_a_draining_worker_gives_long_jobs_back_uncharged(ground: Ground) -> None:
    async with ground.platform(workers=1, capacity=5, WORKER_DRAIN="0.5") as platform:
        (worker,) = platform.workers
        long = {"type": "record", "payload": {"ms": 60_000, "later_ms": 1}, "maxRetries": 0}
        ids = accepted(await submit(platform.urls, [long] * 8))
        await started(platform, 5)
        began_at = time.monotonic()
        assert await asyncio.to_thread(worker.stop) == 0
        print(f"a worker with five endless jobs was gone after {time.monotonic() - began_at:.2f} s")
        assert platform.ledger.count(BROKEN_OFF) == 5
        await asyncio.to_thread(worker.start, DISTRIQUEUE_WORKER_CAPACITY="8")
        # The three that had not been started are still to take their minute: the released ones must not wait for them.
        await platform.until(lambda: platform.ledger.count("end") == 5, "the released jobs")
        released = await platform.sql(
            "SELECT job_id::text AS id FROM attempts WHERE outcome = 'released' AND attempt = 1"
        )
        assert len(released) == 5
        rows = await platform.sql("SELECT id::text, attempt, failures, losses FROM jobs WHERE status = 'completed'")
        assert {(row["attempt"], row["failures"], row["losses"]) for row in rows} == {(2, 0, 0)}
        assert {row["id"] for row in rows} == {row["id"] for row in released} < set(ids)
        for job_id in set(ids) - {row["id"] for row in rows}:
            assert (await call(platform.url, "POST", f"/api/jobs/{job_id}/cancel")).status in (200, 202)
        await platform.until_over()
        assert platform.ledger.twice() == []


async def test_a_cancel_reaches_the_running_job(ground: Ground) -> None:
    async with ground.platform(workers=1, capacity=10) as platform:
        kinds = ["record", "record_in_process"]
        ids = accepted(
            await submit(platform.urls, [{"type": kind, "payload": {"ms": 60_000}} for kind in kinds], connections=1)
        )
        waiting = record(0, scheduleAt="2999-01-01T00:00:00Z")
        (never,) = accepted(await submit(platform.urls, [waiting]))
        await started(platform, 2)
        took_s = []
        for job_id in ids:
            began_at = time.monotonic()
            assert (await call(platform.url, "POST", f"/api/jobs/{job_id}/cancel")).status == 202

            async def is_cancelled(job_id: str = job_id) -> bool:
                return bool((await get(platform.url, f"/api/jobs/{job_id}"))["status"] == "cancelled")

            await platform.until(is_cancelled, "the cancel")
            took_s.append(time.monotonic() - began_at)
        print(f"cancelled after {', '.join(f'{each:.2f}' for each in took_s)} s")
        assert max(took_s) < CANCEL_S
        assert platform.ledger.count(BROKEN_OFF) == 1  # the child process had no time to say anything
        assert (await call(platform.url, "POST", f"/api/jobs/{never}/cancel")).status == 200
        assert (await call(platform.url, "POST", f"/api/jobs/{never}/cancel")).status == 409
        # In place again, by the client's wish.
        assert (await call(platform.url, "POST", f"/api/jobs/{never}/retry")).status == 200
        await platform.until_over()
        assert await platform.statuses() == {"cancelled": 2, "completed": 1}
        assert [entry.attempt for entry in platform.ledger.starts()[never]] == [2]


async def test_failures_are_tried_again_when_they_are_due(ground: Ground) -> None:
    async with ground.platform(workers=2, capacity=10) as platform:
        by_policy: Jobs = [{"type": "fail_n_times", "payload": {"times": 2}}] * 3
        by_wish: Jobs = [{"type": "fail_n_times", "payload": {"times": 2, "after_s": 0.5}}] * 3
        spent: Jobs = [{"type": "fail_n_times", "payload": {"times": 9, "after_s": 0.1}, "maxRetries": 2}] * 3
        wrong: Jobs = [{"type": "fail_n_times", "payload": {"times": "often"}}, {"type": "nobody_knows"}]
        groups = [accepted(await submit([platform.url], each)) for each in (by_policy, by_wish, spent, wrong)]
        await platform.until_over(timeout_s=30)
        starts = platform.ledger.starts()
        # distriqueue/core/retry.py: 2 s, doubled at each failure, times a half to one.
        for ids, bounds in ((groups[0], ((1.0, 2.0), (2.0, 4.0))), (groups[1], ((0.5, 0.5), (0.5, 0.5)))):
            for job_id in ids:
                runs = starts[job_id]
                assert [run.attempt for run in runs] == [1, 2, 3]
                for (least, most), before, after in zip(bounds, runs, runs[1:], strict=False):
                    assert least - 0.05 <= after.at - before.at < most + LATE_S, (least, most, after.at - before.at)
        shown = [[await get(platform.url, f"/api/jobs/{job_id}") for job_id in ids] for ids in groups]
        assert {(job["status"], job["attempt"], job["failures"]) for job in shown[0] + shown[1]} == {
            ("completed", 3, 2)
        }
        assert {(job["status"], job["attempt"], job["failures"]) for job in shown[2]} == {("failed", 3, 3)}
        assert [(job["status"], job["attempt"]) for job in shown[3]] == [("failed", 1), ("failed", 1)]
        assert {job["error"]["type"] for job in shown[3]} >= {"unknown_job_type"}
        history = await get(platform.url, f"/api/jobs/{groups[2][0]}/attempts")
        assert [(each["attempt"], each["outcome"]) for each in history] == [(1, "failed"), (2, "failed"), (3, "failed")]
        assert platform.ledger.twice() == []


async def test_what_takes_too_long_is_ended_and_tried_again(ground: Ground) -> None:
    async with ground.platform(workers=1, capacity=10) as platform:
        slow = {"payload": {"ms": 60_000}, "executionTimeout": 0.5, "maxRetries": 0}
        ids = accepted(await submit(platform.urls, [{"type": kind} | slow for kind in ("record", "record_in_process")]))
        again = {"type": "record", "payload": {"ms": 60_000, "later_ms": 1}, "executionTimeout": 0.5, "maxRetries": 1}
        (retried,) = accepted(await submit(platform.urls, [again]))
        await platform.until_over(timeout_s=20)
        for job_id in ids:
            job = await get(platform.url, f"/api/jobs/{job_id}")
            assert (job["status"], job["failures"]) == ("timeout", 1)
            assert 500 <= job["executionTimeMs"] < 3000
        job = await get(platform.url, f"/api/jobs/{retried}")
        assert (job["status"], job["attempt"], job["failures"]) == ("completed", 2, 1)
        assert platform.ledger.twice() == []
