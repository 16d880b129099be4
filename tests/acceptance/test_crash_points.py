"""A gateway that dies between two systems: the places where a crash must cost nothing (distriqueue/failpoints.py)."""

import asyncio
import signal
import time
from typing import Final

import pytest

from tests.acceptance.client import LOST, accepted, call, get, submit
from tests.acceptance.ledger import END, START
from tests.acceptance.stack import Ground

pytestmark = pytest.mark.stack

SOON_S: Final = 10.0
JOB: Final = {"type": "record", "payload": {"ms": 10}}


async def test_between_commit_and_publish_the_job_still_runs_once(ground: Ground) -> None:
    async with ground.platform(failpoint="gateway.after_commit") as platform:
        gateway = platform.gateways[0]
        reply = await call(gateway.url, "POST", "/api/jobs", JOB)
        assert reply.status == LOST
        assert await asyncio.to_thread(gateway.wait) == -signal.SIGKILL
        (stored,) = await platform.sql("SELECT id::text, status FROM jobs")
        assert stored["status"] == "pending"
        began_at = time.monotonic()
        await asyncio.to_thread(gateway.start)
        await platform.until_over(timeout_s=SOON_S)
        print(f"completed {time.monotonic() - began_at:.2f} s after the gateway's restart began")
        assert await platform.statuses() == {"completed": 1}
        platform.ledger.assert_each_once([stored["id"]])


@pytest.mark.parametrize("failpoint", ["gateway.before_publish", "gateway.before_mark"])
async def test_around_the_publish_each_job_runs_once(ground: Ground, failpoint: str) -> None:
    # Two workers: one alone knows the dispatch that it has had, and would not even claim it a second time.
    async with ground.platform(workers=2, failpoint=failpoint) as platform:
        gateway = platform.gateways[0]
        replies = await submit([gateway.url], [JOB] * 20, connections=20)
        assert await asyncio.to_thread(gateway.wait) == -signal.SIGKILL
        stored = [row["id"] for row in await platform.sql("SELECT id::text FROM jobs")]
        assert set(accepted(replies)) <= set(stored)

        async def dispatched() -> bool:
            return await platform.statuses() == {"queued": len(stored)}

        # The leader sends each, for the second time if the gateway had, before any claim can be decided.
        await platform.until(dispatched, "the leader's dispatches", timeout_s=SOON_S)
        await asyncio.to_thread(gateway.start)
        await platform.until_over(timeout_s=SOON_S)
        assert await platform.statuses() == {"completed": len(stored)}
        platform.ledger.assert_each_once(stored)
        assert {row["attempt"] for row in await platform.sql("SELECT DISTINCT attempt FROM jobs")} == {1}


async def test_a_claim_whose_answer_was_lost_is_answered_again(ground: Ground) -> None:
    async with ground.platform(failpoint="gateway.after_apply") as platform:
        gateway = platform.gateways[0]
        (job_id,) = accepted([await call(gateway.url, "POST", "/api/jobs", JOB)])
        # The worker's claim is stored, and the gateway dies before it says so.
        assert await asyncio.to_thread(gateway.wait) == -signal.SIGKILL
        (claimed,) = await platform.sql("SELECT status, worker_id FROM jobs")
        assert claimed["status"] == "running"
        assert platform.ledger.count(START) == 0
        await asyncio.to_thread(gateway.start)
        await platform.until_over(timeout_s=SOON_S)
        job = await get(gateway.url, f"/api/jobs/{job_id}")
        assert (job["status"], job["attempt"], job["workerId"]) == ("completed", 1, claimed["worker_id"])
        platform.ledger.assert_each_once([job_id])


async def test_an_end_whose_answer_was_lost_is_answered_as_the_first_was(ground: Ground) -> None:
    async with ground.platform() as platform:
        gateway = platform.gateways[0]
        (job_id,) = accepted([await call(gateway.url, "POST", "/api/jobs", JOB | {"payload": {"ms": 1000}})])
        await platform.until(lambda: platform.ledger.count(START) == 1, "the start")
        # Down while the job ends: the report waits for it, and is the first that the armed one gets.
        await asyncio.to_thread(gateway.stop)
        await platform.until(lambda: platform.ledger.count(END) == 1, "the end")
        await asyncio.to_thread(gateway.start_doomed, DISTRIQUEUE_FAILPOINTS="gateway.after_apply")
        assert await asyncio.to_thread(gateway.wait) == -signal.SIGKILL
        (ended,) = await platform.sql("SELECT status, finished_at FROM jobs")
        assert ended["status"] == "completed"
        await asyncio.to_thread(gateway.start)
        # At its stop the worker waits until every report is answered.
        assert await asyncio.to_thread(platform.workers[0].stop) == 0
        assert "report_not_taken" not in platform.workers[0].log()
        assert "reports_lost" not in platform.workers[0].log()
        assert list((await platform.sql("SELECT status, finished_at FROM jobs"))[0]) == list(ended)
        events = await get(gateway.url, f"/api/jobs/{job_id}/events")
        told = [event["status"] for event in events if event["status"] != "queued"]  # a mark that a claim may precede
        assert told == ["pending", "running", "completed"]
        platform.ledger.assert_each_once([job_id])
