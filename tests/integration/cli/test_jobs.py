"""`distriqueue jobs …` on a real gateway."""

import asyncio
import json
import signal
from typing import Any

import pytest

from distriqueue.core.job import new_job_id
from tests.integration.cli.conftest import PROGRAM, CommandLine


@pytest.fixture
async def jobs(distriqueue: CommandLine) -> list[dict[str, Any]]:
    """Four jobs: one completed, one failed, one runs, one waits."""
    gateway = distriqueue.gateway
    made = [await gateway.submit(tags=["a"]) for _ in range(2)]
    made.append(await gateway.submit(type="transform", tags=["a", "b"], maxRetries=0))
    made.append(await gateway.submit(type="transform", priority="LOW", payload={"x": "y"}))
    for job in made[:3]:
        await gateway.report(job["id"], "running")
    await gateway.report(made[0]["id"], "completed", result=[1, 2])
    await gateway.report(made[2]["id"], "failed", errorMessage="it broke: badly")
    return made


async def test_list_and_filters(distriqueue: CommandLine, jobs: list[dict[str, Any]]) -> None:
    ids = [job["id"] for job in jobs]
    cases: dict[str, list[int]] = {
        "": [3, 2, 1, 0],
        "status:completed,failed": [2, 0],
        "type:transform tag:b": [2],
        "priority:low": [3],
        "tag:a created:<1h": [2, 1, 0],
        "created:>1h": [],
        "broke": [2],
        '"it broke: badly"': [2],
        "worker:w1 status:running": [1],
    }
    for text, found in cases.items():
        listed = (await distriqueue("jobs", "list", "--filter", text, "-o", "json")).json
        assert [ids.index(job["id"]) for job in listed["content"]] == found, text
        assert listed["totalElements"] == len(found)
    assert (await distriqueue("jobs", "list", "-s", "failed", "-t", "transform", "--tag", "a")).out.count(ids[2]) == 1
    assert "no jobs match tag:zzz" in (await distriqueue("jobs", "list", "--tag", "zzz")).out


async def test_more_than_a_page(distriqueue: CommandLine) -> None:
    batch = [{"type": "calculate"}] * 130
    assert (await distriqueue.gateway.client.post("/api/jobs/batch", json=batch)).status_code == 202
    for limit, shown in (("20", 20), ("100", 100), ("120", 120), ("1000", 130)):
        listed = (await distriqueue("jobs", "list", "-n", limit, "-o", "json")).json
        assert len({job["id"] for job in listed["content"]}) == shown
        assert (listed["nextCursor"] is None) is (shown == 130)
    said = await distriqueue("jobs", "list", "-n", "3")
    assert "3 of 130 jobs; --limit shows more" in said.err
    assert len(said.out.splitlines()) == 4


async def test_get_explain_events_attempts(distriqueue: CommandLine, jobs: list[dict[str, Any]]) -> None:
    failed = jobs[2]["id"]
    shown = (await distriqueue("jobs", "get", failed)).out
    assert all(said in shown for said in (failed, "failed", "it broke: badly", "transform", "a, b"))
    assert (await distriqueue("jobs", "get", failed, "-o", "json")).json["error"]["message"] == "it broke: badly"
    assert "failed: it ended as failed: it broke: badly" in (await distriqueue("jobs", "explain", failed)).out
    events = (await distriqueue("jobs", "events", failed, "-o", "json")).json
    assert [event["status"] for event in events] == ["pending", "running", "failed"]
    assert "failed" in (await distriqueue("jobs", "events", failed)).out
    [attempt] = (await distriqueue("jobs", "attempts", failed, "-o", "json")).json
    assert (attempt["outcome"], attempt["workerId"]) == ("failed", "w1")
    assert "it broke: badly" in (await distriqueue("jobs", "attempts", failed)).out


async def test_a_long_timeline_is_shown_whole(distriqueue: CommandLine, jobs: list[dict[str, Any]]) -> None:
    running = jobs[1]["id"]
    await distriqueue.gateway.parts.database.fetch(
        "INSERT INTO events (job_id, status, was, type, priority, attempt, progress, created_at)"
        " SELECT $1, 'running', 'running', 'calculate', 'MEDIUM', 1, n / 25.0, now() FROM generate_series(1, 2400) n",
        running,
    )
    assert len((await distriqueue("jobs", "events", running, "-o", "json")).json) == 2402


async def test_an_unknown_job_is_told_of_everywhere(distriqueue: CommandLine) -> None:
    unknown = str(new_job_id())
    for command in ("get", "explain", "events", "attempts", "logs", "watch", "cancel", "retry"):
        said = await distriqueue("jobs", command, unknown, code=5)
        assert f"there is no job {unknown}" in said.err
        assert "`distriqueue jobs list` shows the newest" in said.err


async def test_cancel_and_retry_one(distriqueue: CommandLine, jobs: list[dict[str, Any]]) -> None:
    completed, running, failed, waiting = (job["id"] for job in jobs)
    assert (await distriqueue("jobs", "cancel", waiting)).out == f"job {waiting} is cancelled\n"
    assert "its worker is told" in (await distriqueue("jobs", "cancel", running)).out
    assert "cannot cancel the job" in (await distriqueue("jobs", "cancel", completed, code=6)).err
    assert (await distriqueue("jobs", "retry", failed, "-o", "json")).json["status"] == "pending"
    assert "it is completed" in (await distriqueue("jobs", "retry", completed, code=6)).err
    several = await distriqueue("jobs", "cancel", failed, completed, code=1)
    assert several.out == "1 job cancelled\n"
    assert "1 job of those named could not be: over, or unknown" in several.err


async def test_many_by_a_filter_are_counted_asked_for_and_done(
    distriqueue: CommandLine, jobs: list[dict[str, Any]]
) -> None:
    batch = [{"type": "many", "tags": ["m"]}] * 700
    assert (await distriqueue.gateway.client.post("/api/jobs/batch", json=batch)).status_code == 202
    dry = await distriqueue("jobs", "cancel", "--filter", "tag:m", "--dry-run")
    assert "700 jobs would be cancelled" in dry.out
    assert "nothing is done" in dry.out
    asked = await distriqueue("jobs", "cancel", "--filter", "tag:m", code=2)
    assert "nobody can be asked whether to, so say --yes or --dry-run" in asked.err
    assert (await distriqueue("jobs", "cancel", "--filter", "tag:m", "--yes")).out == "700 jobs cancelled\n"
    assert (await distriqueue("jobs", "cancel", "--filter", "tag:m", "--yes")).out == "0 jobs cancelled\n"
    again = (await distriqueue("jobs", "retry", "-f", "tag:m status:cancelled", "--yes", "-o", "json")).json
    assert (again["changed"], again["more"], len(again["jobIds"])) == (700, False, 100)
    everything = (await distriqueue("jobs", "cancel", "--all", "--yes", "-o", "json")).json
    assert everything["changed"] == 702  # one of them runs: it is told so, once
    assert "0 jobs cancelled" in (await distriqueue("jobs", "cancel", "-f", "status:completed", "--yes")).out


async def test_watch_one_until_its_end(distriqueue: CommandLine) -> None:
    job = await distriqueue.gateway.submit(maxRetries=0)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(distriqueue("jobs", "watch", job["id"], "-o", "json", code=1))
        await distriqueue.followed()
        await distriqueue.gateway.report(job["id"], "running")
        await distriqueue.gateway.report(job["id"], "failed", errorMessage="no")
    said = watching.result()
    events = [json.loads(line) for line in said.out.splitlines()]
    # On a slow machine it has waited long enough for the mark `queued`.
    assert [event["status"] for event in events if event["status"] != "queued"] == ["running", "failed"]
    assert "ended as failed: no" in said.err
    assert "ended as failed: no" in (await distriqueue("jobs", "watch", job["id"], code=1)).err


def line(n: int, message: str, level: str = "info", **fields: Any) -> dict[str, Any]:
    said = {"n": n, "at": "2030-01-31T12:00:00.25+00:00", "level": level, "message": message}
    return said | ({"fields": fields} if fields else {})


async def test_logs(distriqueue: CommandLine) -> None:
    job = await distriqueue.gateway.submit()
    silent = await distriqueue("jobs", "logs", job["id"])
    assert (silent.out, "a handler logs by its context's `log`" in silent.err) == ("", True)
    await distriqueue.gateway.report(job["id"], "running")
    logs = [line(1, "half [way]", left=3), line(2, "no\x1b[31m more", "error", traceback="Traceback:\n  it broke\n")]
    await distriqueue.gateway.report(job["id"], "failed", errorMessage="no", logs=logs)
    said = (await distriqueue("jobs", "logs", job["id"])).out
    assert said == (
        "12:00:00.250 #1 info     half [way] left=3\n12:00:00.250 #1 error    no�[31m more\nTraceback:\n  it broke\n"
    )
    told = (await distriqueue("jobs", "logs", job["id"], "-o", "json")).json
    assert [each["message"] for each in told] == [each["message"] for each in logs]
    assert (await distriqueue("jobs", "logs", job["id"], "--attempt", "2", "-o", "json")).json == []


async def test_long_logs_are_shown_whole(distriqueue: CommandLine, jobs: list[dict[str, Any]]) -> None:
    await distriqueue.gateway.parts.database.fetch(
        "INSERT INTO job_logs (job_id, attempt, n, at, level, message)"
        " SELECT $1, a, n, now(), 'info', n::text FROM generate_series(1, 3) a, generate_series(1, 900) n",
        jobs[0]["id"],
    )
    told = (await distriqueue("jobs", "logs", jobs[0]["id"], "-o", "json")).json
    assert [(each["attempt"], each["n"]) for each in told] == [(a, n) for a in (1, 2, 3) for n in range(1, 901)]
    followed = (await distriqueue("jobs", "logs", jobs[0]["id"], "--follow", "-o", "json")).out.splitlines()
    assert [json.loads(each) for each in followed] == told


async def test_logs_are_followed_until_the_end(distriqueue: CommandLine) -> None:
    job = await distriqueue.gateway.submit(maxRetries=0)
    process = await asyncio.create_subprocess_exec(
        *(*PROGRAM, "jobs", "logs", job["id"], "--follow"),
        env=distriqueue.env(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        await distriqueue.followed()
        await distriqueue.gateway.report(job["id"], "running")
        await distriqueue.gateway.report(job["id"], "running", logs=[line(1, "a")])
        assert b" a\n" in await process.stdout.readline()
        await distriqueue.gateway.report(job["id"], "running", logs=[line(2, "b")])
        assert b" b\n" in await process.stdout.readline()
        await distriqueue.gateway.report(job["id"], "failed", errorMessage="no", logs=[line(3, "c")])
        out, errors = await process.communicate()
    assert (process.returncode, out.count(b"\n"), b" c\n" in out) == (1, 1, True)
    assert b"ended as failed: no" in errors


async def test_watch_by_filter(distriqueue: CommandLine) -> None:
    async with asyncio.TaskGroup() as group:
        options = ("--filter", "type:transform", "-s", "pending", "--count", "2")
        watching = group.create_task(distriqueue("jobs", "watch", *options))
        await distriqueue.followed()
        made = [await distriqueue.gateway.submit(type=type_) for type_ in ("transform", "calculate", "transform")]
    lines = watching.result().out.splitlines()
    assert len(lines) == 2
    assert all(made[place]["id"] in lines[place // 2] for place in (0, 2))


async def test_ctrl_c_ends_watch_quietly(distriqueue: CommandLine) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*PROGRAM, "jobs", "watch"),
        env=distriqueue.env(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await distriqueue.followed()
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        out, errors = await process.communicate()
    assert (process.returncode, out, errors) == (130, b"", b"")
