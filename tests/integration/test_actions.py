"""`POST /jobs/actions`: cancels and retries by filter, over a real store."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from distriqueue.core.job import Priority, new_job_id
from distriqueue.store.jobs import Extras, NewJob
from distriqueue.store.submissions import Submission
from gateway import bulk
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import RunningGateway, running_gateway
from tests.integration.leader import connected

LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        await connected(running.parts.broker)
        yield running


async def act(gateway: RunningGateway, action: str, where: dict[str, Any] | None = None, **options: Any) -> Any:
    order = {"action": action} | ({} if where is None else {"filter": where}) | options
    answer = await gateway.client.post("/api/jobs/actions", json=order)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["action"], told["dryRun"]) == (action, options.get("dryRun", False))
    return told


async def fail(stores: Stores, *jobs: NewJob) -> None:
    for job in jobs:
        await stores.report(job, "running")
        await stores.report(job, "failed", error_message="boom", retryable=False)


async def statuses(stores: Stores, *jobs: NewJob) -> list[str]:
    return [(await stores.get(job)).status for job in jobs]


def ids(*jobs: NewJob) -> list[str]:
    return [str(job.id) for job in jobs]


async def test_what_is_not_clear_is_refused(gateway: RunningGateway) -> None:
    every = {"action": "cancel", "all": True}
    for wrong in (
        {"action": "cancel"},
        {"action": "cancel", "filter": {}},
        {"action": "cancel", "filter": {"ids": []}, "all": True},
        {"action": "cancel", "filter": {"status": []}, "all": True},
        {"action": "cancel", "filter": {"q": ""}},
        {"action": "delete", "all": True},
        every | {"all": "true"},
        every | {"dryRun": 1},
        every | {"limit": 0},
        every | {"limit": 10_001},
        every | {"surplus": 1},
        every | {"filter": {"page": 1}},
        every | {"filter": {"status": ["nope"]}},
        every | {"filter": {"status": "failed"}},
        every | {"filter": {"type": [5]}},
        every | {"filter": {"tag": ["\0"]}},
        every | {"filter": {"ids": ["1"]}},
        every | {"filter": {"ids": [str(new_job_id()) for _ in range(1_001)]}},
        every | {"filter": {"createdFrom": 5}},
        [every],
        "cancel",
    ):
        answer = await gateway.client.post("/api/jobs/actions", json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), wrong
        assert answer.json()["errors"]
    assert (await gateway.client.post("/api/jobs/actions", content=b"{")).status_code == 415
    json = {"Content-Type": "application/json"}
    assert (await gateway.client.post("/api/jobs/actions", content=b"{", headers=json)).status_code == 400


async def test_a_cancel_ends_what_waits_tells_what_runs_and_leaves_what_is_over(
    gateway: RunningGateway, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 1)  # what runs matches still, and is not to be come back to
    waiting, running, over = new_job(due_at=LATER), new_job(), new_job()
    await stores.add(waiting, running, over, other := new_job(type="other", due_at=LATER))
    await stores.report(running, "running")
    await fail(stores, over)
    where = {"type": ["calculate"]}
    told = await act(gateway, "cancel", where, dryRun=True)
    assert (told["matched"], told["changed"], told["skipped"], told["more"]) == (2, 0, 0, False)
    assert await statuses(stores, waiting) == ["scheduled"]
    assert (await gateway.client.get("/api/audit")).json()["content"] == []
    told = await act(gateway, "cancel", where)
    assert (told["matched"], told["changed"], told["skipped"], told["more"]) == (2, 2, 0, False)
    assert sorted(told["jobIds"]) == ids(waiting, running)
    assert await statuses(stores, waiting, running, over, other) == ["cancelled", "running", "failed", "scheduled"]
    assert (await stores.get(running)).cancel_requested
    [entry] = (await gateway.client.get("/api/audit")).json()["content"]
    assert (entry["action"], entry["target"], entry["details"]["filter"]) == ("jobs.cancel", "jobs", where)
    assert sorted((await act(gateway, "cancel", all=True))["jobIds"]) == ids(running, other)


async def test_the_filters_are_those_of_the_list(gateway: RunningGateway, stores: Stores) -> None:
    batch = new_job_id()
    wanted = new_job(type="a,b", priority=Priority.LOW, tags=("x,y", "z"), batch_id=batch, due_at=LATER)
    await stores.add(wanted, *(new_job(due_at=LATER) for _ in range(2)))
    created = (await stores.get(wanted)).created_at.isoformat()
    for where in (
        {"type": ["a,b", "c"]},
        {"tag": ["x,y", "z"]},
        {"priority": ["low"]},
        {"batch": str(batch)},
        {"q": "A,B"},
        {"ids": ids(wanted)},
        {"ids": ids(wanted), "status": ["SCHEDULED"], "createdFrom": created},
    ):
        told = await act(gateway, "cancel", where, dryRun=True)
        assert (told["matched"], told["jobIds"]) == (1, ids(wanted)), where
    for where in (
        {"type": ["a"]},
        {"tag": ["x"]},
        {"worker": "w1"},
        {"schedule": "nightly"},
        {"createdTo": created},
        {"status": ["completed"]},
        {"ids": [str(new_job_id())]},
    ):
        assert (await act(gateway, "cancel", where, dryRun=True))["matched"] == 0, where
        assert (await act(gateway, "cancel", where))["matched"] == 0, where


async def test_many_are_changed_a_batch_at_a_time_each_once(
    gateway: RunningGateway, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 40)
    sizes = []
    cancel_many = gateway.parts.jobs.cancel_many

    async def noted(job_ids: Any) -> Any:
        sizes.append(len(job_ids))
        return await cancel_many(job_ids)

    monkeypatch.setattr(gateway.parts.jobs, "cancel_many", noted)
    jobs = [new_job(due_at=LATER) for _ in range(130)]
    await stores.add(*jobs)
    newest_first = ids(*sorted(jobs, key=lambda job: job.id, reverse=True))
    told = await act(gateway, "cancel", all=True, limit=110)
    assert sizes == [40, 40, 30]
    assert (told["matched"], told["changed"], told["more"]) == (110, 110, True)
    assert told["jobIds"] == newest_first[:100]
    dry = await act(gateway, "cancel", all=True, dryRun=True, limit=20)
    assert (dry["matched"], dry["more"], dry["jobIds"]) == (20, False, newest_first[110:])
    assert (await act(gateway, "cancel", all=True, dryRun=True, limit=19))["more"]
    told = await act(gateway, "cancel", all=True)
    assert (told["matched"], told["changed"], told["more"]) == (20, 20, False)


async def test_what_takes_too_long_is_left_to_the_next_call(
    gateway: RunningGateway, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    monkeypatch.setattr(bulk, "TIME_S", 0.05)
    cancel_many = gateway.parts.jobs.cancel_many

    async def slow(job_ids: Any) -> Any:
        await asyncio.sleep(0.06)
        return await cancel_many(job_ids)

    monkeypatch.setattr(gateway.parts.jobs, "cancel_many", slow)
    await stores.add(*(new_job(due_at=LATER) for _ in range(3)))
    assert [(await act(gateway, "cancel", all=True))["more"] for _ in range(2)] == [True, False]


async def test_what_is_retried_is_sent_at_once(gateway: RunningGateway, stores: Stores) -> None:
    jobs = [new_job() for _ in range(3)]
    await stores.add(*jobs)
    await fail(stores, *jobs[:2])
    told = await act(gateway, "retry", {"worker": "w1"})
    assert (told["matched"], told["changed"]) == (2, 2)
    deadline = time.monotonic() + 10
    while await statuses(stores, *jobs[:2]) != ["queued", "queued"]:
        assert time.monotonic() < deadline, "no leader is there: the gateway is to send them"
        await asyncio.sleep(0.02)
    assert [(await stores.get(job)).attempt for job in jobs] == [2, 2, 1]


async def test_a_taken_unique_key_holds_up_no_other_job(gateway: RunningGateway, stores: Stores) -> None:
    async def submit(key: str) -> NewJob:
        job = new_job(extras=Extras(unique_key=key))
        [answer] = (await stores.submissions.accept([Submission((job,))])).answers
        assert not isinstance(answer, Exception), answer
        return job

    dead = []
    for key in ("taken", "twice", "twice", "free"):
        dead.append(await submit(key))
        await fail(stores, dead[-1])
    taker = await submit("taken")
    plain = new_job()
    await stores.add(plain)
    await fail(stores, plain)
    told = await act(gateway, "retry", all=True)
    assert (told["matched"], told["changed"], told["skipped"]) == (5, 3, 2)
    assert set(told["jobIds"]) == set(ids(dead[2], dead[3], plain))
    refused = await gateway.client.post(f"/api/jobs/{dead[0].id}/retry")
    assert (refused.status_code, "uniqueKey" in refused.json()["detail"]) == (409, True)
    await stores.jobs.cancel(taker.id)
    assert (await gateway.client.post(f"/api/jobs/{dead[0].id}/retry")).status_code == 200


async def test_a_unique_key_that_is_taken_meanwhile_is_left_out(stores: Stores) -> None:
    extras = Extras(unique_key="u")
    dead, plain = new_job(extras=extras), new_job()
    await stores.submissions.accept([Submission((dead,))])
    await stores.add(plain)
    await fail(stores, dead, plain)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.TaskGroup() as group, stores.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, payload, unique_key)"
            " VALUES (new_job_id(), 'calculate', 'LOW', 'pending', 0, 1, '{}', 'u')"
        )
        retry = group.create_task(stores.jobs.retry_many([dead.id, plain.id]))
        deadline = time.monotonic() + 4
        while not await stores.database.fetch(waiting):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    assert retry.result().ids == [plain.id]
    assert await statuses(stores, dead, plain) == ["failed", "pending"]
