"""Batches, queues, dead letters, workers, schedules and webhooks by the command line, on a real gateway."""

import asyncio
from typing import Any

from distriqueue.core.job import new_job_id
from distriqueue.core.messages import Heartbeat
from distriqueue.store.workers import WorkerStore
from tests.integration.cli.conftest import CommandLine


async def batch_of(distriqueue: CommandLine, count: int, **fields: Any) -> dict[str, Any]:
    answer = await distriqueue.gateway.client.post("/api/jobs/batch", json={"jobs": [{"type": "a"}] * count, **fields})
    assert answer.status_code == 202, answer.text
    batch: dict[str, Any] = answer.json()
    return batch


async def test_a_batch_and_its_end(distriqueue: CommandLine) -> None:
    batch = await batch_of(distriqueue, 3, batchName="night [1]")
    shown = (await distriqueue("batches", "get", batch["batchId"])).out
    assert all(said in shown for said in ("night [1]", "no, 0 % have ended", *batch["jobIds"]))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(distriqueue("batches", "get", batch["batchId"], "--wait", "-o", "json"))
        await distriqueue.followed()
        for job_id in batch["jobIds"]:
            await distriqueue.gateway.report(job_id, "running")
            await distriqueue.gateway.report(job_id, "completed")
    assert waiting.result().json["byStatus"] == {"completed": 3}
    assert "batchId" in (await distriqueue("batches", "get", str(new_job_id()), code=5)).err


async def test_a_batch_is_not_waited_for_for_ever(distriqueue: CommandLine) -> None:
    batch = await batch_of(distriqueue, 1)
    late = await distriqueue("batches", "get", batch["batchId"], "--wait", "--timeout", "1", code=7)
    assert "is not finished within 1 s; it goes on" in late.err


async def test_a_batch_with_a_failure_is_a_failure(distriqueue: CommandLine) -> None:
    batch = await batch_of(distriqueue, 1)
    await distriqueue.gateway.client.post(f"/api/jobs/{batch['jobIds'][0]}/cancel")
    assert "cancelled" in (await distriqueue("batches", "get", batch["batchId"], "--wait", code=1)).out
    await distriqueue("batches", "get", batch["batchId"])


async def test_queues(distriqueue: CommandLine) -> None:
    listed = (await distriqueue("queues", "list", "-o", "json")).json
    assert [each["name"] for each in listed] == ["job.critical", "job.high", "job.medium", "job.low"]
    assert (await distriqueue("queues", "pause", "LOW", "--reason", "no [power]")).out == "queue job.low is paused\n"
    table = (await distriqueue("queues", "list")).out
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["job.critical", "open"],
        ["job.high", "open"],
        ["job.medium", "open"],
        ["job.low", "paused"],
    ]
    assert "no [power]" in table
    assert (await distriqueue("queues", "resume", "job.low", "-o", "json")).json["paused"] is False
    assert "there are job.critical, job.high" in (await distriqueue("queues", "pause", "urgent", code=5)).err


async def test_dead_letters(distriqueue: CommandLine) -> None:
    assert (await distriqueue("dlq", "list")).out == "nothing has failed for good\n"
    for number in range(3):
        job = await distriqueue.gateway.submit(maxRetries=0)
        await distriqueue.gateway.report(job["id"], "running")
        await distriqueue.gateway.report(job["id"], "failed", errorMessage=f"no item {number}")
    [group] = (await distriqueue("dlq", "list", "--from", "1h", "--type", "calculate", "-o", "json")).json["content"]
    assert group["jobs"] == 3
    fingerprint = group["fingerprint"]
    assert fingerprint in (await distriqueue("dlq", "list")).out
    dry = await distriqueue("dlq", "replay", fingerprint, "--dry-run")
    assert dry.out == "3 jobs would run again; nothing is done\n"
    assert "so say --yes or --dry-run" in (await distriqueue("dlq", "replay", fingerprint, code=2)).err
    some = (await distriqueue("dlq", "replay", "--id", job["id"], "--yes", "-o", "json")).json
    assert (some["matched"], some["replayed"], some["jobIds"]) == (1, 1, [job["id"]])
    assert (await distriqueue("dlq", "replay", fingerprint, "--per-second", "5", "--yes")).out == "2 jobs replayed\n"
    assert "fingerprint" in (await distriqueue("dlq", "replay", "xyz", "--yes", code=2)).err


async def test_workers(distriqueue: CommandLine) -> None:
    assert "no worker is alive: `distriqueue worker` starts one" in (await distriqueue("workers", "list")).out
    store = WorkerStore(distriqueue.gateway.parts.database)
    beats = [
        Heartbeat.model_validate(
            {"workerId": name, "capacity": 4, "currentLoad": 1, "types": ["a [b]"], "stopped": stopped}
        )
        for name, stopped in (("w 1", False), ("w2", True))
    ]
    await store.record(beats)
    assert [each["workerId"] for each in (await distriqueue("workers", "list", "-o", "json")).json] == ["w 1"]
    everyone = (await distriqueue("workers", "list", "--all")).out
    assert all(said in everyone for said in ("w 1", "1/4", "a [b]", "w2", "stopped"))
    assert "worker w 1 is asked to drain" in (await distriqueue("workers", "drain", "w 1")).out
    assert "draining" in (await distriqueue("workers", "list")).out
    unknown = await distriqueue("workers", "drain", "w3", code=5)
    assert "`distriqueue workers list` shows them; each start has an id of its own" in unknown.err
    assert "the worker 'w2' is STOPPED" in (await distriqueue("workers", "drain", "w2", code=6)).err


async def test_schedules(distriqueue: CommandLine) -> None:
    assert (
        "there are no schedules: `distriqueue schedules create` makes one"
        in (await distriqueue("schedules", "list")).out
    )
    options = (
        "--cron",
        "30 4 * * *",
        "--timezone",
        "Europe/Berlin",
        "--type",
        "calculate",
        "--payload",
        '{"numbers": [1]}',
    )
    made = await distriqueue("schedules", "create", "every night", *options, "--overlap", "skip", "-o", "json")
    assert (made.json["payload"], made.json["overlap"], made.json["timezone"]) == (
        {"numbers": [1]},
        "skip",
        "Europe/Berlin",
    )
    assert "every night" in (await distriqueue("schedules", "create", "every night", *options, code=6)).err
    assert (
        len((await distriqueue("schedules", "get", "every night", "--fires", "3", "-o", "json")).json["nextFires"]) == 3
    )
    assert (await distriqueue("schedules", "pause", "every night")).out == "schedule 'every night' is paused\n"
    assert "paused" in (await distriqueue("schedules", "list")).out
    assert "fires next in" in (await distriqueue("schedules", "resume", "every night")).out
    assert "so say --yes" in (await distriqueue("schedules", "delete", "every night", code=2)).err
    assert (
        await distriqueue("schedules", "delete", "every night", "--yes")
    ).out == "schedule 'every night' is deleted\n"
    for command in (("get", "x"), ("pause", "x"), ("delete", "x", "--yes")):
        missing = await distriqueue("schedules", *command, code=5)
        assert "`distriqueue schedules list` shows their names" in missing.err
    wrong = await distriqueue("schedules", "create", "x", "--cron", "61 * * * *", "--type", "a", code=2)
    assert "cron" in wrong.err


async def test_webhooks(distriqueue: CommandLine) -> None:
    job = await distriqueue.gateway.submit(callbackUrl="https://example.com/hook", maxRetries=0)
    assert (
        "none was sent: it has no callbackUrl, or has not ended"
        in (await distriqueue("webhooks", "list", job["id"])).out
    )
    await distriqueue.gateway.report(job["id"], "running")
    await distriqueue.gateway.report(job["id"], "failed", errorMessage="no")
    [sent] = (await distriqueue("webhooks", "list", job["id"], "-o", "json")).json
    assert "https://example.com/hook" in (await distriqueue("webhooks", "list", job["id"])).out
    again = await distriqueue("webhooks", "replay", sent["id"])
    assert again.out.startswith(f"webhook {sent['id']} is sent again to https://example.com/hook, as ")
    unknown = str(new_job_id())
    assert (
        "`distriqueue webhooks list JOB` shows them" in (await distriqueue("webhooks", "replay", unknown, code=5)).err
    )
    await distriqueue("webhooks", "list", "--batch", unknown, code=5)
