"""What is too much is refused, says so, and leaves nothing behind: sizes, batches, backlog, waiting commits."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from tests.integration.gateway import RunningGateway, running_gateway

EMPTY = '{"type": "calculate", "payload": {"text": ""}}'


def sized(size_bytes: int) -> bytes:
    """Return a job of exactly so many bytes."""
    return EMPTY.replace('""}', f'"{"x" * (size_bytes - len(EMPTY))}"}}').encode()


async def post(gateway: RunningGateway, content: bytes, path: str = "/api/jobs") -> httpx.Response:
    return await gateway.client.post(path, content=content, headers={"Content-Type": "application/json"})


async def stored(gateway: RunningGateway) -> int:
    return int((await gateway.client.get("/api/jobs")).json()["totalElements"])


async def test_a_job_may_be_as_large_as_the_bound_and_no_larger(database_url: str) -> None:
    async with running_gateway(database_url, max_body_bytes=2048) as gateway:
        assert (await post(gateway, sized(2048))).status_code == 202
        refused = await post(gateway, sized(2049))
        assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")
        assert await stored(gateway) == 1


async def test_a_batch_has_bounds_of_its_own(database_url: str) -> None:
    async with running_gateway(
        database_url, max_body_bytes=1024, max_batch_body_bytes=4096, max_batch_jobs=3
    ) as gateway:
        one = json.loads(EMPTY)
        for jobs, status, code in (
            ([one] * 3, 202, None),
            ([one] * 4, 422, "invalid_request"),
            ([], 422, "invalid_request"),
        ):
            answer = await gateway.client.post("/api/jobs/batch", json={"jobs": jobs})
            assert (answer.status_code, answer.json().get("code")) == (status, code)
        [error] = (await gateway.client.post("/api/jobs/batch", json=[one] * 4)).json()["errors"]
        assert error == {"field": "jobs", "message": "a batch has 1 to 3 jobs, not 4"}
        large = await post(gateway, b"[" + sized(4096) + b"]", "/api/jobs/batch")
        assert (large.status_code, large.json()["code"]) == (413, "payload_too_large")
        assert await stored(gateway) == 3


class TestResults:
    @pytest.fixture
    async def gateway(self, database_url: str) -> AsyncIterator[RunningGateway]:
        async with running_gateway(database_url, max_result_bytes=2000) as running:
            yield running

    async def end(self, gateway: RunningGateway, result: Any) -> dict[str, Any]:
        """Return a job that its worker reported as completed with this result, in a list of reports."""
        job = await gateway.submit(maxRetries=5)
        await gateway.report(job["id"], "running")
        report = {"jobId": job["id"], "attempt": 1, "status": "completed", "workerId": "w1", "result": result}
        [told] = (await gateway.client.post("/api/jobs/status", json=[report])).json()
        assert told["answer"] == "accepted"
        ended: dict[str, Any] = (await gateway.client.get(f"/api/jobs/{job['id']}")).json()
        again = (await gateway.client.post("/api/jobs/status", json=report)).json()
        assert again["answer"] == "accepted"  # its answer was lost, say
        return ended

    async def test_as_large_as_the_bound(self, gateway: RunningGateway) -> None:
        ended = await self.end(gateway, "x" * 1998)
        assert (ended["status"], len(ended["result"])) == ("completed", 1998)

    @pytest.mark.parametrize("result", ["x" * 1999, "é" * 1000], ids=["by one", "by bytes, not characters"])
    async def test_a_larger_one_fails_the_job_for_good(self, gateway: RunningGateway, result: str) -> None:
        ended = await self.end(gateway, result)
        assert (ended["status"], ended["result"], ended["error"]["type"]) == ("failed", None, "result_too_large")
        assert "2000" in ended["error"]["message"]

    async def test_a_large_report_with_a_small_result_is_none(self, gateway: RunningGateway) -> None:
        job = await gateway.submit()
        await gateway.report(job["id"], "running")
        await gateway.report(job["id"], "failed", errorMessage="no", traceback="x" * 5000, retryable=False)
        ended = (await gateway.client.get(f"/api/jobs/{job['id']}")).json()
        assert (ended["status"], ended["error"]["message"]) == ("failed", "no")

    async def test_chunks_are_measured_too(self, gateway: RunningGateway) -> None:
        """Without a content-length there is nothing to go by but the result."""
        job = await gateway.submit()
        await gateway.report(job["id"], "running")
        report = {"jobId": job["id"], "attempt": 1, "status": "completed", "workerId": "w1", "result": "x" * 3000}

        async def chunks() -> AsyncIterator[bytes]:
            yield json.dumps(report).encode()

        answer = await gateway.client.post(
            "/api/jobs/status", content=chunks(), headers={"Content-Type": "application/json"}
        )
        assert answer.json()["answer"] == "accepted"
        assert (await gateway.client.get(f"/api/jobs/{job['id']}")).json()["status"] == "failed"


@pytest.mark.parametrize("key", [None, "u"], ids=["plain", "looked at"])
async def test_too_many_waiting_for_a_commit_are_refused_and_the_others_stored(
    database_url: str, key: str | None
) -> None:
    lock = await asyncpg.connect(database_url, timeout=10)
    async with running_gateway(database_url, intake_queue=5) as gateway, asyncio.TaskGroup() as group:
        await lock.execute("BEGIN; LOCK TABLE jobs IN SHARE MODE")
        posts = []
        for n in range(12):
            job = {"type": "calculate"} | ({} if key is None else {"uniqueKey": f"{key}{n}"})
            posts.append(group.create_task(gateway.client.post("/api/jobs", json=job)))
        done, _ = await asyncio.wait(posts, timeout=4, return_when=asyncio.FIRST_COMPLETED)
        for post in done:
            refused = await post
            assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
            assert int(refused.headers["Retry-After"]) >= 1
        await lock.close(timeout=10)
        statuses = [(await post).status_code for post in posts]
        assert set(statuses) == {202, 429}
        assert 5 <= statuses.count(202) < 12  # those that waited, and those whose commit was under way
        assert await stored(gateway) == statuses.count(202)


async def test_a_full_backlog_refuses_jobs_and_batches_until_it_is_worked_off(database_url: str) -> None:
    async with running_gateway(database_url, max_backlog=3) as gateway:
        assert (await gateway.submit())["status"] == "pending"
        await _wait_for_backlog(gateway, pending=3)
        for path, body in (("/api/jobs", {"type": "calculate"}), ("/api/jobs/batch", [{"type": "calculate"}])):
            answer = await gateway.client.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
            assert int(answer.headers["Retry-After"]) == 5
        await gateway.report((await gateway.client.get("/api/jobs")).json()["content"][0]["id"], "running")
        await _wait_for_backlog(gateway, pending=2)
        await gateway.submit()


async def _wait_for_backlog(gateway: RunningGateway, *, pending: int) -> None:
    """Let the statistics, which a leader keeps, say so, and the gateway see it."""
    database = gateway.parts.database
    await database.fetch("DELETE FROM job_totals")
    await database.fetch("UPDATE event_rollup SET seq = (SELECT coalesce(max(seq), 0) FROM events)")
    await database.fetch("INSERT INTO job_totals (hour, status, jobs) VALUES ('-infinity', 'pending', $1)", pending)
    for _ in range(500):
        if gateway.parts.backlog.waiting == pending:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"the gateway saw {gateway.parts.backlog.waiting} waiting, not {pending}")
