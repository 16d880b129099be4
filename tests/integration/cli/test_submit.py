"""`distriqueue submit` on a real gateway."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.integration.cli.conftest import CommandLine, Said


async def submitted(distriqueue: CommandLine) -> str:
    """Return the id of the job that is to come; nothing signals it to a client without a stream."""
    async with asyncio.timeout(10):
        while True:
            listed = (await distriqueue.gateway.client.get("/api/jobs")).json()["content"]
            if listed:
                return str(listed[0]["id"])
            await asyncio.sleep(0.02)


async def waited(distriqueue: CommandLine, status: str, *options: str, code: int, **report: Any) -> Said:
    """Submit and wait, while the job ends like this."""
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(distriqueue("submit", "calculate", "--wait", *options, code=code))
        job_id = await submitted(distriqueue)
        await distriqueue.followed()
        await distriqueue.gateway.report(job_id, "running")
        await distriqueue.gateway.report(job_id, "running", progress=40, progressMessage="half")
        await distriqueue.gateway.report(job_id, status, **report)
    return waiting.result()


async def test_the_id_alone_is_on_standard_output(distriqueue: CommandLine) -> None:
    said = await distriqueue("submit", "calculate")
    job = (await distriqueue.gateway.client.get(f"/api/jobs/{said.out.strip()}")).json()
    assert (job["type"], job["payload"], job["priority"]) == ("calculate", {}, "MEDIUM")
    assert f"`distriqueue jobs get {job['id']}` shows it" in said.err


async def test_everything_that_can_be_said_of_a_job(distriqueue: CommandLine, tmp_path: Path) -> None:
    parent = await distriqueue.gateway.submit()
    payload = tmp_path / "p.json"
    payload.write_text('{"numbers": [1, 2]}', encoding="utf-8")
    options = {
        "--payload": f"@{payload}",
        "--priority": "high",
        "--depends-on": parent["id"],
        "--schedule-at": "2030-01-31T12:00:00Z",
        "--max-retries": "7",
        "--execution-timeout": "5m",
        "--unique-key": "once",
        "--on-conflict": "return_existing",
        "--concurrency-key": "turns",
        "--callback-url": "https://example.com/hook",
    }
    given = [each for pair in options.items() for each in pair]
    said = await distriqueue("submit", "resize", *given, "--tag", "a", "--tag", "b", "-o", "json")
    job = said.json
    assert (job["type"], job["payload"], job["priority"], job["tags"]) == (
        "resize",
        {"numbers": [1, 2]},
        "HIGH",
        ["a", "b"],
    )
    assert (job["dependsOn"], job["scheduleAt"], job["maxRetries"]) == ([parent["id"]], "2030-01-31T12:00:00Z", 7)
    assert (job["executionTimeout"], job["uniqueKey"], job["concurrencyKey"]) == (300.0, "once", "turns")
    assert job["callbackUrl"] == "https://example.com/hook"
    again = await distriqueue("submit", "resize", "--unique-key", "once", "--on-conflict", "return_existing")
    assert again.out.strip() == job["id"]
    assert "the unique key is taken: this is the job that has it" in again.err
    refused = await distriqueue("submit", "resize", "--unique-key", "once", code=6)
    assert "once" in refused.err


async def test_an_idempotency_key_makes_it_one_job(distriqueue: CommandLine) -> None:
    key = str(uuid4())
    first, second = [await distriqueue("submit", "calculate", "--idempotency-key", key) for _ in range(2)]
    assert first.out == second.out
    assert "submitted before with this idempotency key: this is the same job" in second.err
    assert "was used for another request" in (await distriqueue("submit", "b", "--idempotency-key", key, code=2)).err


async def test_what_is_read_from_standard_input(distriqueue: CommandLine) -> None:
    said = await distriqueue("submit", "calculate", "--payload", "-", "-o", "json", given='{"numbers": [3]}')
    assert said.json["payload"] == {"numbers": [3]}


async def test_it_waits_for_the_result(distriqueue: CommandLine) -> None:
    said = await waited(distriqueue, "completed", code=0, result={"sum": 3})
    assert json.loads(said.out) == {"sum": 3}
    assert said.err.startswith("job 0")


async def test_a_job_that_fails_is_a_failure_that_says_why(distriqueue: CommandLine) -> None:
    said = await waited(distriqueue, "failed", "--max-retries", "0", code=1, errorMessage="no such number")
    assert said.out == ""
    assert "ended as failed: no such number" in said.err


async def test_for_programs_a_failure_is_a_job_too(distriqueue: CommandLine) -> None:
    said = await waited(distriqueue, "failed", "--max-retries", "0", "-o", "json", code=1, errorMessage="no")
    assert (said.json["status"], said.json["error"]["message"]) == ("failed", "no")


async def test_it_does_not_wait_for_ever(distriqueue: CommandLine) -> None:
    said = await distriqueue("submit", "calculate", "--wait", "--timeout", "1", code=7)
    assert "has not ended within 1 s; it goes on" in said.err


async def test_a_wrong_field_is_named(distriqueue: CommandLine) -> None:
    said = await distriqueue("submit", "calculate", "--callback-url", "ftp://x", code=2)
    assert "callbackUrl" in said.err
    assert "distriqueue." in (await distriqueue("submit", "distriqueue.webhook", code=2)).err
