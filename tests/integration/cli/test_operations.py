"""Batches, queues, limits, dead letters, workers, schedules and webhooks by the command line, on a real gateway."""

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
    missing = (await distriqueue("batches", "get", str(new_job_id()), code=5)).err
    assert "there is no batch" in missing
    assert "`distriqueue batches list` shows the newest" in missing


async def test_batches_are_listed_from_the_newest(distriqueue: CommandLine) -> None:
    assert "there are no batches: jobs of one `POST /api/jobs/batch`" in (await distriqueue("batches", "list")).out
    made = [(await batch_of(distriqueue, n + 1, batchName=f"night [{n}]"))["batchId"] for n in range(3)]
    await distriqueue.gateway.client.post("/api/jobs/actions", json={"action": "cancel", "filter": {"batch": made[0]}})
    listed = (await distriqueue("batches", "list", "-o", "json")).json
    assert [each["id"] for each in listed["content"]] == made[::-1]
    table = (await distriqueue("batches", "list")).out.splitlines()
    assert [line.split()[:6] for line in table[1:]] == [
        [made[2], "night", "[2]", "running", "3", "0"],
        [made[1], "night", "[1]", "running", "2", "0"],
        [made[0], "night", "[0]", "finished", "1", "100"],
    ]
    some = await distriqueue("batches", "list", "--limit", "2")
    assert len(some.out.splitlines()) == 3
    assert "there are older ones; --limit shows more" in some.err


async def test_rate_limits(distriqueue: CommandLine) -> None:
    assert (
        "no type is limited: `distriqueue rate-limits set` limits one" in (await distriqueue("rate-limits", "list")).out
    )
    said = await distriqueue("rate-limits", "set", "send [mail]", "100", "--every", "1m")
    assert said.out == "of 'send [mail]' at most 100 start every 60 seconds\n"
    assert (await distriqueue("rate-limits", "set", "a", "7", "-o", "json")).json["perSeconds"] == 1
    listed = (await distriqueue("rate-limits", "list", "-o", "json")).json
    assert [(each["type"], each["permits"]) for each in listed] == [("a", 7), ("send [mail]", 100)]
    assert "send [mail]" in (await distriqueue("rate-limits", "list")).out
    assert (await distriqueue("rate-limits", "remove", "send [mail]")).out == "'send [mail]' is limited no more\n"
    missing = await distriqueue("rate-limits", "remove", "send [mail]", code=5)
    assert "`distriqueue rate-limits list` shows them" in missing.err
    assert (await distriqueue("rate-limits", "remove", "a", "-o", "json")).json == {"type": "a", "removed": True}


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
    for command in (
        ("get", "x"),
        ("pause", "x"),
        ("edit", "x", "--overlap", "skip"),
        ("run", "x"),
        ("delete", "x", "--yes"),
    ):
        missing = await distriqueue("schedules", *command, code=5)
        assert "`distriqueue schedules list` shows their names" in missing.err
    wrong = await distriqueue("schedules", "create", "x", "--cron", "61 * * * *", "--type", "a", code=2)
    assert "cron" in wrong.err


async def nightly(distriqueue: CommandLine, *options: str) -> dict[str, Any]:
    given = ("--cron", "30 4 * * *", "--type", "calculate", "--tag", "a", *options, "-o", "json")
    made: dict[str, Any] = (await distriqueue("schedules", "create", "nightly", *given)).json
    return made


async def test_a_schedule_is_edited(distriqueue: CommandLine) -> None:
    made = await nightly(distriqueue, "--misfire-grace", "5m")
    assert made["misfireGrace"] == 300
    options = {
        "--cron": "0 5 * * *",
        "--timezone": "Asia/Tokyo",
        "--type": "transform",
        "--payload": '{"a": 1}',
        "--priority": "low",
        "--max-retries": "0",
        "--execution-timeout": "2m",
        "--overlap": "skip",
        "--misfire-grace": "10s",
        "--tag": "b",
    }
    given = [each for pair in options.items() for each in pair]
    changed = (await distriqueue("schedules", "edit", "nightly", *given, "-o", "json")).json
    named = ("cron", "timezone", "type", "payload", "priority", "maxRetries", "executionTimeout", "overlap", "tags")
    wanted = ["0 5 * * *", "Asia/Tokyo", "transform", {"a": 1}, "LOW", 0, 120, "skip", ["b"]]
    assert [changed[name] for name in named] == wanted
    same = (await distriqueue("schedules", "edit", "nightly", "--tag", "", "-o", "json")).json
    assert same == changed | {"tags": [], "updatedAt": same["updatedAt"]}
    assert "Asia/Tokyo" in (await distriqueue("schedules", "edit", "nightly", "--payload", "{}")).out
    assert "cron" in (await distriqueue("schedules", "edit", "nightly", "--cron", "61 * * * *", code=2)).err


async def test_a_schedule_is_run_by_hand(distriqueue: CommandLine) -> None:
    await nightly(distriqueue, "--paused")
    said = await distriqueue("schedules", "run", "nightly")
    job = (await distriqueue.gateway.client.get(f"/api/jobs/{said.out.strip()}")).json()
    assert (job["type"], job["scheduleName"], job["tags"]) == ("calculate", "nightly", ["a"])
    assert f"`distriqueue jobs get {job['id']}` shows it" in said.err
    key = ("schedules", "run", "nightly", "--idempotency-key", "k")
    first, again = [await distriqueue(*key) for _ in range(2)]
    assert first.out == again.out != said.out
    assert "this is the same job" in again.err
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(distriqueue(*key, "--wait", "-o", "json"))
        await distriqueue.followed()
        await distriqueue.gateway.report(first.out.strip(), "running")
        await distriqueue.gateway.report(first.out.strip(), "completed", result=6)
    assert waiting.result().json["result"] == 6
    await distriqueue("schedules", "edit", "nightly", "--overlap", "skip")
    refused = await distriqueue("schedules", "run", "nightly", code=6)
    assert f"its job {job['id']} is not over" in refused.err


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
