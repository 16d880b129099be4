"""A job that is killed in the middle goes on where it was, and what all its attempts said can be read."""

import asyncio
from typing import Any, Final

import pytest

from tests.acceptance import stack
from tests.acceptance.client import accepted, get, submit
from tests.acceptance.stack import Ground, Platform

pytestmark = pytest.mark.stack

STEPS: Final = 60
KINDS: Final = ("steps", "thread_steps", "process_steps")


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers run handlers that make steps."""
    monkeypatch.setattr(stack, "HANDLERS", "tests.acceptance.step_handlers:registry")


async def log_of(platform: Platform, job_id: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = await get(platform.url, f"/api/jobs/{job_id}/logs")
    return lines


async def test_a_job_of_a_killed_worker_goes_on_from_its_checkpoint(ground: Ground) -> None:
    async with ground.platform(workers=1) as platform:
        (worker,) = platform.workers
        jobs = [{"type": kind, "payload": {"steps": STEPS}, "maxRetries": 0} for kind in KINDS]
        ids = accepted(await submit([platform.url], jobs, connections=1))

        async def all_speak() -> bool:
            return all([len(await log_of(platform, job_id)) >= 10 for job_id in ids])

        await platform.until(all_speak, "ten steps of each")
        await asyncio.to_thread(worker.kill)
        seen = {job_id: len(await log_of(platform, job_id)) for job_id in ids}
        assert max(seen.values()) < STEPS - 5, "killed too late to show anything"
        await asyncio.to_thread(worker.start)
        await platform.until_over()
        for job_id in ids:
            job = await get(platform.url, f"/api/jobs/{job_id}")
            assert (job["status"], job["losses"], job["failures"]) == ("completed", 1, 0), job
            first = job["result"]["first"]
            # A line and its checkpoint are two calls: the last report before the kill may have come between them.
            assert seen[job_id] - 1 <= first <= seen[job_id] + 1
            assert job["result"]["attempt"] == 2
            lines = await log_of(platform, job_id)
            numbers = {n: [line["fields"]["number"] for line in lines if line["attempt"] == n] for n in (1, 2)}
            assert numbers == {1: list(range(seen[job_id])), 2: list(range(first, STEPS))}
            print(f"{job['type']}: {seen[job_id]} steps seen at the kill, the next attempt began with step {first}")


async def test_a_failure_leaves_its_words_and_its_checkpoint(ground: Ground) -> None:
    async with ground.platform(workers=1, tolerated=("worker.job",)) as platform:
        (job_id,) = accepted(await submit([platform.url], [{"type": "fails_once", "payload": {}, "maxRetries": 9}]))
        await platform.until_over()
        job = await get(platform.url, f"/api/jobs/{job_id}")
        assert (job["status"], job["attempt"], job["error"]["type"]) == ("failed", 2, "ValueError")
        said = [
            (line["attempt"], line["level"], line["message"], line["fields"]) for line in await log_of(platform, job_id)
        ]
        assert said == [
            (1, "warning", "first", {"why": "as told"}),
            (2, "error", "second", {"resume": {"seen": 1}}),
        ]
