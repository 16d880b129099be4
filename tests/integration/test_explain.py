"""`GET /jobs/{id}/explain`, a job's timeline and its attempts, over a real store."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from distriqueue.core.errors import NotFound
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Heartbeat
from distriqueue.core.states import Status
from distriqueue.store.duties import DutyStore
from distriqueue.store.explain import COUNTED, NAMED, SQL, ExplainStore, Facts
from distriqueue.store.jobs import Extras, NewJob
from distriqueue.store.submissions import Submission
from distriqueue.store.workers import WorkerStore
from gateway.api import jobs as jobs_module
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import RunningGateway, running_gateway
from tests.integration.leader import connected

LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        await connected(running.parts.broker)
        yield running


async def told(gateway: RunningGateway, job_id: str, status: str = "") -> dict[str, dict[str, Any]]:
    """Return the reasons by their codes."""
    answer = await gateway.client.get(f"/api/jobs/{job_id}/explain")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["jobId"] == job_id
    assert body["status"].startswith(status)
    assert body["summary"] == "; ".join(reason["message"] for reason in body["reasons"])
    return {reason["code"]: reason["details"] for reason in body["reasons"]}


async def until(gateway: RunningGateway, job_id: str, status: str) -> None:
    deadline = time.monotonic() + 10
    while (job := (await gateway.client.get(f"/api/jobs/{job_id}")).json())["status"] != status:
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)


async def facts(stores: Stores, job: NewJob) -> Facts:
    return await ExplainStore(stores.database).facts(job.id)


async def accept(stores: Stores, *jobs: NewJob) -> None:
    [answer] = (await stores.submissions.accept([Submission(jobs)])).answers
    assert not isinstance(answer, Exception), answer


async def bend(stores: Stores, job: NewJob, assignments: str) -> None:
    await stores.database.fetch(f"UPDATE jobs SET {assignments} WHERE id = $1", job.id)


async def test_a_job_is_explained_through_its_life(gateway: RunningGateway) -> None:
    job_id = (await gateway.submit(maxRetries=1, queueTimeout=3600))["id"]
    await until(gateway, job_id, "queued")
    assert list(await told(gateway, job_id, "queued")) == ["in_queue", "no_worker", "expires"]
    await gateway.parts.workers.record([Heartbeat(worker_id="w1", types=["mail"]), Heartbeat(worker_id="w2")])
    await gateway.parts.database.fetch("UPDATE workers SET state = 'STOPPED' WHERE id = 'w2'")
    assert (await told(gateway, job_id))["no_worker_for_type"] == {
        "workers": 1,
        "handling": 0,
        "capacity": 0,
        "load": 0,
    }
    await gateway.parts.workers.record([Heartbeat(worker_id="w1", types=["calculate"], capacity=4, current_load=4)])
    assert (await told(gateway, job_id))["workers_busy"]["capacity"] == 4
    await gateway.client.post("/api/queues/medium/pause", params={"reason": "deploy"})
    assert (await told(gateway, job_id))["queue_paused"] == {"queue": "job.medium", "reason": "deploy"}
    await gateway.client.post("/api/queues/medium/resume")
    assert (await gateway.report(job_id, "running"))["answer"] == "accepted"
    await gateway.report(job_id, "running", progress=40, progressMessage="so far")
    running = (await told(gateway, job_id, "running"))["running"]
    assert (running["workerId"], running["progress"], running["progressMessage"]) == ("w1", 40, "so far")
    assert running["workerLastSeen"]
    await gateway.report(job_id, "failed", errorMessage="boom", errorType="ValueError")
    backoff = (await told(gateway, job_id, "retrying"))["backoff"]
    assert (backoff["failures"], backoff["maxRetries"]) == (1, 1)
    assert backoff["lastError"] == {"type": "ValueError", "message": "boom"}
    await gateway.parts.database.fetch("UPDATE jobs SET due_at = now() - interval '1 min'")
    assert (await told(gateway, job_id))["waits_for_scheduler"]["overdueSeconds"] >= 60
    await gateway.client.post(f"/api/jobs/{job_id}/cancel")
    assert list(await told(gateway, job_id, "cancelled")) == ["cancelled"]


async def test_unknown_and_malformed_ids(gateway: RunningGateway) -> None:
    assert (await gateway.client.get(f"/api/jobs/{new_job_id()}/explain")).status_code == 404
    assert (await gateway.client.get("/api/jobs/nope/explain")).status_code == 404


async def test_the_lane_is_the_rules_and_others_pauses_do_not_count(gateway: RunningGateway) -> None:
    await gateway.parts.routing.set_rule("calculate", Priority.LOW)
    for lane in (Priority.MEDIUM, Priority.LOW):
        await gateway.parts.routing.pause(lane, reason=f"{lane}?")
        gateway.parts.routes.expire()
        job_id = (await gateway.submit())["id"]
        reasons = await told(gateway, job_id)
        assert ("queue_paused" in reasons) == (lane is Priority.LOW)
    assert reasons["queue_paused"] == {"queue": "job.low", "reason": "LOW?"}


async def test_scheduled(stores: Stores) -> None:
    job = new_job(due_at=LATER)
    await stores.add(job)
    known = await facts(stores, job)
    assert (known.status, known.due_at, known.takers, known.worker) == (Status.SCHEDULED, LATER, None, None)
    with pytest.raises(NotFound):
        await facts(stores, new_job())


async def test_parents_that_have_not_ended_are_named_up_to_a_bound_in_their_order(stores: Stores) -> None:
    parents = [new_job() for _ in range(NAMED + 2)]
    await stores.add(*parents)
    child = new_job(extras=Extras(parents=tuple(parent.id for parent in parents)))
    await accept(stores, child)
    await stores.report(parents[0], "running")
    await stores.report(parents[1], "running")
    await stores.report(parents[0], "completed")
    known = await facts(stores, child)
    assert known.waits_for == NAMED + 1
    assert [parent.id for parent in known.parents] == [parent.id for parent in parents[1 : NAMED + 1]]
    assert [parent.status for parent in known.parents][:2] == [Status.RUNNING, Status.PENDING]


async def test_a_job_cancelled_by_a_parent_says_which(stores: Stores) -> None:
    good, bad = new_job(), new_job(max_retries=0)
    await stores.add(good, bad)
    child = new_job(extras=Extras(parents=(good.id, bad.id)))
    await accept(stores, child)
    await stores.report(good, "running")
    await stores.report(good, "completed")
    await stores.report(bad, "running")
    await stores.report(bad, "failed", error_message="boom")
    known = await facts(stores, child)
    assert (known.status, known.error_type) == (Status.CANCELLED, "ParentFailed")
    assert [(parent.id, parent.status) for parent in known.parents] == [(bad.id, Status.FAILED)]


async def test_who_holds_the_slots_and_who_is_before_it_in_line(stores: Stores) -> None:
    extras = Extras(concurrency_key="k", concurrency_limit=2)
    jobs = [new_job(extras=extras, priority=Priority.LOW) for _ in range(5)]
    for job in (*jobs, other := new_job(extras=Extras(concurrency_key="other", concurrency_limit=1))):
        await accept(stores, job)
    known = [await facts(stores, job) for job in jobs]
    assert [each.slots is None for each in known] == [True, True, False, False, False]
    assert [each.slots.ahead for each in known if each.slots] == [0, 1, 2]
    assert [(set(each.slots.holders), each.slots.held) for each in known if each.slots] == [
        ({jobs[0].id, jobs[1].id}, 2)
    ] * 3
    urgent = new_job(extras=extras, priority=Priority.HIGH)
    await accept(stores, urgent)
    slots = [(await facts(stores, job)).slots for job in (urgent, jobs[2])]
    assert [each.ahead for each in slots if each] == [0, 1]
    assert (await facts(stores, other)).slots is None


async def test_its_position_is_among_the_jobs_of_its_priority(stores: Stores) -> None:
    jobs = [new_job() for _ in range(4)]
    for job in (*jobs, other := new_job(priority=Priority.HIGH)):
        await stores.add(job)
    assert [(await facts(stores, job)).ahead for job in (*jobs, other)] == [0, 1, 2, 3, 0]
    for job in (*jobs[:2], other):
        await stores.jobs.mark_queued([job.dispatch()])
    assert [(await facts(stores, job)).ahead for job in (*jobs, other)] == [0, 1, 0, 1, 0]


async def test_a_count_is_bounded(stores: Stores) -> None:
    await stores.add(*(new_job() for _ in range(COUNTED + 5)))
    last = new_job()
    await stores.add(last)
    assert (await facts(stores, last)).ahead == COUNTED


async def test_only_workers_that_take_jobs_count(stores: Stores) -> None:
    workers = WorkerStore(stores.database)
    await workers.record(
        [
            Heartbeat(worker_id="busy", types=["calculate", "mail"], capacity=3, current_load=2),
            Heartbeat(worker_id="other", types=["mail"], capacity=5),
            Heartbeat(worker_id="silent-about-types", capacity=2),
            Heartbeat(worker_id="stopping", types=["calculate"], stopping=True),
            Heartbeat(worker_id="stopped", types=["calculate"], stopped=True),
            Heartbeat(worker_id="drained", types=["calculate"]),
        ]
    )
    await workers.drain("drained")
    job = new_job()
    await stores.add(job)
    takers = (await facts(stores, job)).takers
    assert takers is not None
    assert (takers.workers, takers.handling, takers.capacity, takers.load) == (3, 2, 5, 2)


async def test_an_expired_job_says_so(stores: Stores) -> None:
    job = new_job(extras=Extras(expires_at=LATER))
    await accept(stores, job)
    assert (await facts(stores, job)).expires_at == LATER
    await bend(stores, job, "expires_at = now() - interval '1 s'")
    async with stores.database.transaction() as connection:
        await connection.execute("UPDATE leadership SET epoch = 1")
    await DutyStore(stores.database).expire(limit=10, epoch=1)
    known = await facts(stores, job)
    assert (known.status, known.error_type) == (Status.TIMEOUT, "NotStarted")
    assert known.fingerprint


async def test_no_part_of_it_reads_the_whole_table(stores: Stores) -> None:
    await stores.database.fetch(
        """
        INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, payload, queued_at, due_at,
                          concurrency_key, concurrency_limit)
        SELECT new_job_id(), 'calculate', 'MEDIUM', (ARRAY['scheduled', 'pending', 'queued', 'blocked'])[1 + n % 4],
               3, 300, '{}', now(), now(), CASE WHEN n % 4 > 1 THEN 'k' END, CASE WHEN n % 4 > 1 THEN 1 END
          FROM generate_series(1, 4000) AS n
        """
    )
    await stores.database.fetch("ANALYZE jobs")
    async with stores.database.transaction() as connection:
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            plan = await connection.fetch(f"EXPLAIN {SQL['facts']}", new_job_id(), NAMED, COUNTED)
            assert [row[0] for row in plan if "Seq Scan on jobs" in row[0]] == [], mode


async def test_each_attempt_has_its_error_and_times(gateway: RunningGateway) -> None:
    job_id = (await gateway.submit(maxRetries=0))["id"]
    await gateway.report(job_id, "running")
    traceback = "head " + "x" * 20_000 + " tail"
    await gateway.report(job_id, "failed", errorMessage="boom", errorType="ValueError", traceback=traceback)
    await gateway.client.post(f"/api/jobs/{job_id}/retry")
    await gateway.report(job_id, "running", attempt=2)
    first, second = (await gateway.client.get(f"/api/jobs/{job_id}/attempts")).json()
    assert (first["attempt"], first["outcome"], first["workerId"]) == (1, "failed", "w1")
    assert (first["error"]["message"], first["error"]["type"]) == ("boom", "ValueError")
    assert len(first["error"]["traceback"]) == 16_384
    assert first["error"]["traceback"].endswith(" tail")
    took = datetime.fromisoformat(first["finishedAt"]) - datetime.fromisoformat(first["startedAt"])
    assert first["executionTimeMs"] == pytest.approx(took / timedelta(milliseconds=1), abs=0.01)
    assert (second["attempt"], second["outcome"]) == (2, "running")
    assert (second["finishedAt"], second["executionTimeMs"]) == (None, None)


async def test_a_long_timeline_goes_on_at_its_link(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "TIMELINE", 3)
    job_id = (await gateway.submit())["id"]
    await gateway.report(job_id, "running")
    for progress in range(1, 5):
        await gateway.report(job_id, "running", progress=progress)
    await gateway.report(job_id, "completed")
    address: str | None = f"/api/jobs/{job_id}/events"
    pages = []
    while address:
        answer = await gateway.client.get(address)
        pages.append(answer.json())
        address = answer.links.get("next", {}).get("url")
    events = [event for page in pages for event in page]
    assert max(map(len, pages)) == 3
    assert events == sorted(events, key=lambda event: event["id"])
    assert [event["progress"] for event in events if event["status"] == "running"] == [None, 1, 2, 3, 4]
    assert (events[0]["status"], events[-1]["status"]) == ("pending", "completed")
    assert (await gateway.client.get(f"/api/jobs/{job_id}/events?after=-1")).status_code == 422
    assert (await gateway.client.get(f"/api/jobs/{new_job_id()}/events")).status_code == 404
