"""Rate limits, the backlog's bound, and the sizes of what is taken."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from distriqueue.core.errors import NotFound
from distriqueue.core.messages import Answer, Report
from distriqueue.store.jobs import NewJob
from distriqueue.store.limits import LimitStore
from distriqueue.store.reports import ReportStore
from distriqueue.store.routing import Routing, RoutingStore
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import running_gateway
from tests.integration.leader import leading


def claim(job: NewJob) -> Report:
    return Report.model_validate({"job_id": job.id, "attempt": 1, "status": "running", "worker_id": "w1"})


async def limited(stores: Stores) -> ReportStore:
    return ReportStore(stores.database, Routing(RoutingStore(stores.database)))


async def test_no_more_start_than_there_are_tokens_whoever_claims(stores: Stores) -> None:
    limits = LimitStore(stores.database)
    await limits.put("calculate", permits=5, per_s=3600)
    jobs = [new_job() for _ in range(40)]
    await stores.add(*jobs, new_job(type="validate"))
    gateways = [await limited(stores), await limited(stores)]
    answers = await asyncio.gather(
        *(gateways[n % 2].apply([claim(job) for job in jobs[n * 10 : n * 10 + 10]]) for n in range(4))
    )
    told = [(answer.answer, answer.reason) for applied in answers for answer in applied.answers]
    assert told.count((Answer.ACCEPTED, None)) == 5
    assert told.count((Answer.REFUSED, "rate_limited")) == 35
    rows = await stores.database.fetch("SELECT ready_at FROM jobs WHERE rate_slot IS NOT NULL ORDER BY rate_slot")
    waits = [(after["ready_at"] - before["ready_at"]).total_seconds() for before, after in pairwise(rows)]
    assert len(rows) == 35
    assert min(waits) >= 720  # a token each, none twice
    assert [limit.tokens < 0.1 for limit in await limits.all()] == [True]


async def test_who_has_waited_for_a_slot_goes_before_a_newcomer(stores: Stores) -> None:
    limits = LimitStore(stores.database)
    await limits.put("calculate", permits=1, per_s=3600)
    reports = await limited(stores)
    first, waiting, newcomer = new_job(), new_job(), new_job()
    await stores.add(first, waiting, newcomer)
    await reports.apply([claim(first)])
    assert (await reports.apply([claim(waiting)])).answers[0].reason == "rate_limited"
    await stores.database.fetch("UPDATE rate_limits SET filled_at = filled_at - interval '1 h'")
    await stores.database.fetch("UPDATE jobs SET rate_slot = now(), ready_at = now() WHERE rate_slot IS NOT NULL")
    answers = (await reports.apply([claim(newcomer), claim(waiting)])).answers
    assert [answer.answer for answer in answers] == [Answer.REFUSED, Answer.ACCEPTED]


async def test_a_lifted_limit_lets_go_what_waits(stores: Stores) -> None:
    limits = LimitStore(stores.database)
    await limits.put("calculate", permits=1, per_s=3600)
    jobs = [new_job() for _ in range(3)]
    await stores.add(*jobs)
    await (await limited(stores)).apply([claim(job) for job in jobs])
    await limits.delete("calculate")
    rows = await stores.database.fetch("SELECT 1 FROM jobs WHERE rate_slot IS NOT NULL OR ready_at > now()")
    assert rows == []
    with pytest.raises(NotFound):
        await limits.delete("calculate")


async def test_the_dispatcher_leaves_alone_what_waits_for_its_slot(database_url: str) -> None:
    async with leading(database_url) as leader:
        job_id = await leader.submit()
        await leader.change(job_id, "ready_at = now() + interval '1 h', rate_slot = now() + interval '1 h'")
        assert await leader.duties.stranded({}, older_than_s=0.0, limit=10) == []
        await leader.change(job_id, "ready_at = now() - interval '1 s'")
        assert len(await leader.duties.stranded({}, older_than_s=0.0, limit=10)) == 1


async def test_over_the_backlogs_bound_new_jobs_are_refused_for_a_while(database_url: str) -> None:
    async with running_gateway(database_url, max_backlog=3) as gateway:
        await gateway.parts.database.fetch(
            "INSERT INTO job_totals (hour, status, jobs) VALUES ('-infinity', 'pending', 2), ('-infinity', 'queued', 1)"
        )
        deadline = datetime.now(UTC) + timedelta(seconds=10)
        while gateway.parts.backlog.waiting != 3:
            assert datetime.now(UTC) < deadline
            await asyncio.sleep(0.02)
        for path in ("/api/jobs", "/api/jobs/batch"):
            answer = await gateway.client.post(path, json={"type": "calculate"})
            assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
            assert int(answer.headers["Retry-After"]) >= 1


async def test_a_result_over_the_bound_fails_its_job(database_url: str) -> None:
    async with running_gateway(database_url, max_result_bytes=2000) as gateway:
        job = await gateway.submit()
        await gateway.report(job["id"], "running")
        told = await gateway.report(job["id"], "completed", result={"text": "x" * 3000})
        assert told["answer"] == "accepted"
        ended = (await gateway.client.get(f"/api/jobs/{job['id']}")).json()
        assert (ended["status"], ended["error"]["type"], ended["result"]) == ("failed", "result_too_large", None)
