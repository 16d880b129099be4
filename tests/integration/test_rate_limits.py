"""Rate limits per job type: never more starts than the bucket allows, whoever claims; and nobody waits for nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from distriqueue.core.errors import NotFound
from distriqueue.core.messages import Answer, Dispatch, Report
from distriqueue.settings import StoreSettings
from distriqueue.store.database import Database
from distriqueue.store.jobs import Extras, NewJob
from distriqueue.store.limits import LimitStore
from distriqueue.store.reports import ReportStore
from distriqueue.store.routing import Routing, RoutingStore
from distriqueue.store.submissions import Submission
from orchestrator.duties.dispatcher import OLDER_THAN_S
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import running_gateway
from tests.integration.leader import Leader, leading

HOUR_S = 3600.0
FULL = "UPDATE rate_limits SET tokens = permits, filled_at = clock_timestamp()"


def claim(job: NewJob | Dispatch, attempt: int = 1, worker: str = "w1") -> Report:
    job_id = job.id if isinstance(job, NewJob) else job.job_id
    return Report.model_validate({"job_id": job_id, "attempt": attempt, "status": "running", "worker_id": worker})


def reports_of(database: Database) -> ReportStore:
    return ReportStore(database, Routing(RoutingStore(database)))


@pytest.fixture
def limits(stores: Stores) -> LimitStore:
    return LimitStore(stores.database, batch=2)


async def told(reports: ReportStore, *jobs: NewJob) -> list[str]:
    """Claim together; return what each was told."""
    answers = (await reports.apply([claim(job) for job in jobs])).answers
    return [answer.reason or answer.answer.value for answer in answers]


async def waits_s(stores: Stores, *jobs: NewJob) -> list[float | None]:
    """Return in how many seconds each may come again, None where it waits for no slot."""
    rows = await stores.database.fetch("SELECT id, extract(epoch FROM rate_slot - now())::float8 AS s FROM jobs")
    by_id = {row["id"]: row["s"] for row in rows}
    return [by_id[job.id] for job in jobs]


async def become_due(stores: Stores, *jobs: NewJob, ago_s: float = 0.01) -> None:
    """The slots of these come, and are so long past."""
    await stores.database.fetch(
        "UPDATE jobs SET rate_slot = now() - make_interval(secs => $2) WHERE id = ANY ($1::uuid[])",
        [job.id for job in jobs],
        ago_s,
    )


@dataclass
class Claimers:
    """Two gateways' stores, the dispatcher, and what became of every claim."""

    leader: Leader
    gateways: Sequence[ReportStore]
    starts: list[tuple[float, float]] = field(default_factory=list)
    """Between which two moments each attempt started."""
    refusals: Counter[UUID] = field(default_factory=Counter)
    done: set[UUID] = field(default_factory=set)

    async def offer(self, dispatches: Sequence[Dispatch], *, fails: Iterator[bool]) -> None:
        """Let both gateways' workers claim these at the same time, and end at once what starts."""
        async with asyncio.TaskGroup() as group:
            for n, gateway in enumerate(self.gateways):
                if mine := dispatches[n :: len(self.gateways)]:
                    group.create_task(self._claim(gateway, mine, fails))

    async def _claim(self, gateway: ReportStore, dispatches: Sequence[Dispatch], fails: Iterator[bool]) -> None:
        before = time.monotonic()
        applied = await gateway.apply([claim(each, each.attempt) for each in dispatches])
        after = time.monotonic()
        ends = []
        for each, answer in zip(dispatches, applied.answers, strict=True):
            if answer.answer is not Answer.ACCEPTED:
                assert answer.reason == "rate_limited"
                self.refusals[each.job_id] += 1
                continue
            self.starts.append((before, after))
            end: dict[str, Any] = {"status": "completed"}
            if each.attempt == 1 and next(fails):
                end = {"status": "failed", "retry_after": 0.05}
            else:
                self.done.add(each.job_id)
            ends.append(claim(each, each.attempt).model_dump() | end)
        await gateway.apply([Report.model_validate(end) for end in ends])

    def most_over(self, permits: int, rate: float) -> float:
        """Return by how much the busiest window was over the bound; each start was within the window for certain."""
        over = -float(permits)
        for begin, _ in self.starts:
            ends = sorted(end for start, end in self.starts if start >= begin)
            over = max(over, *(n - permits - rate * (end - begin) for n, end in enumerate(ends, 1)))
        return over


@asynccontextmanager
async def claimers(database_url: str) -> AsyncIterator[Claimers]:
    settings = StoreSettings.load(database_url=database_url, store_timeout=10.0)
    async with (
        leading(database_url) as leader,
        Database.open(settings, application="gateway1") as first,
        Database.open(settings, application="gateway2") as second,
    ):
        yield Claimers(leader, [reports_of(first), reports_of(second)])


@pytest.mark.parametrize("permits", [20, 2])
async def test_no_window_has_more_starts_than_the_bucket_and_everybody_starts(database_url: str, permits: int) -> None:
    """Two gateways, newcomers while others wait, retries; then an idle time and a crowd."""
    jobs = [new_job() for _ in range(permits * 4)]
    late = [new_job() for _ in range(permits)]
    fails = (n % 5 == 0 for n in range(1000))
    async with claimers(database_url) as at_work:
        await LimitStore(at_work.leader.database).put("calculate", permits=permits, per_s=1.0)
        await at_work.leader.jobs.insert(jobs)
        await at_work.offer([job.dispatch() for job in jobs], fails=fails)
        assert len(at_work.starts) >= permits
        deadline = time.monotonic() + 20
        while len(at_work.done) < len(jobs) + permits:
            assert time.monotonic() < deadline, "somebody starves"
            if late:  # as a gateway sends them: at once
                await at_work.leader.jobs.insert([newcomer := late.pop()])
                await at_work.offer([newcomer.dispatch()], fails=fails)
            await at_work.leader.duties.promote(limit=100, epoch=1)
            due = await at_work.leader.duties.stranded({}, older_than_s=OLDER_THAN_S, limit=100)
            await at_work.offer([each.dispatch for each in due], fails=fails)
            await asyncio.sleep(0.1)  # the dispatcher's interval, shorter
        assert at_work.most_over(permits, permits) <= 1e-6
        assert max(at_work.refusals.values()) <= 5
        assert at_work.refusals.total() <= 2.5 * len(at_work.starts)

        at_work.starts.clear()
        await at_work.leader.database.fetch("UPDATE rate_limits SET filled_at = filled_at - interval '1 day'")
        crowd = [new_job() for _ in range(permits * 3)]
        await at_work.leader.jobs.insert(crowd)
        await asyncio.gather(*(at_work.offer([each.dispatch() for each in crowd[n::4]], fails=fails) for n in range(4)))
        assert at_work.most_over(permits, permits) <= 1e-6
        assert len(at_work.starts) >= permits


async def test_a_newcomer_does_not_take_the_token_of_one_that_is_on_its_way(stores: Stores, limits: LimitStore) -> None:
    await limits.put("calculate", permits=1, per_s=HOUR_S)
    reports = reports_of(stores.database)
    first, waits, newcomer = new_job(), new_job(), new_job()
    await stores.add(first, waits, newcomer)
    assert await told(reports, first, waits) == ["accepted", "rate_limited"]
    await stores.database.fetch(FULL)
    await become_due(stores, waits)
    assert await told(reports, newcomer) == ["rate_limited"]
    assert await told(reports, waits) == ["accepted"]


async def test_who_does_not_come_for_its_token_keeps_nobody_waiting(stores: Stores, limits: LimitStore) -> None:
    await limits.put("calculate", permits=1, per_s=HOUR_S)
    reports = reports_of(stores.database)
    first, away, newcomer = new_job(), new_job(), new_job()
    await stores.add(first, away, newcomer)
    await told(reports, first, away)
    await stores.database.fetch(FULL)
    await become_due(stores, away, ago_s=10)
    assert await told(reports, newcomer) == ["accepted"]


async def test_after_a_standstill_the_oldest_go_first_and_the_others_soon(stores: Stores, limits: LimitStore) -> None:
    """They come late and all at once: two have a token, the others keep their places before the rest of the line."""
    await limits.put("calculate", permits=2, per_s=120.0)
    reports = reports_of(stores.database)
    jobs = [new_job() for _ in range(8)]
    await stores.add(*jobs)
    await told(reports, *jobs)
    await stores.database.fetch(FULL)
    await become_due(stores, *jobs[2:6], ago_s=300)
    assert await told(reports, *reversed(jobs[2:6])) == ["rate_limited", "rate_limited", "accepted", "accepted"]
    again = await waits_s(stores, *jobs[4:6])
    assert [round(s or 0, -1) for s in again] == [60, 120]
    await stores.database.fetch(FULL)
    await become_due(stores, *jobs[4:8])
    assert await told(reports, *reversed(jobs[4:8])) == ["rate_limited", "rate_limited", "accepted", "accepted"]


async def test_a_place_in_line_is_not_kept_for_the_cancelled(stores: Stores, limits: LimitStore) -> None:
    await limits.put("calculate", permits=1, per_s=60.0)
    reports = reports_of(stores.database)
    jobs = [new_job() for _ in range(22)]
    await stores.add(*jobs)
    await told(reports, *jobs[:20])
    await stores.jobs.cancel_many([job.id for job in jobs[1:19]])
    assert await told(reports, jobs[20]) == ["rate_limited"]
    [soon] = await waits_s(stores, jobs[20])
    assert soon is not None
    assert soon < 130  # one other waits, however late its slot is
    await stores.database.fetch(FULL)
    assert await told(reports, jobs[21]) == ["accepted"]  # whose token nobody will miss


async def test_one_job_takes_one_token_however_many_claim_it_and_none_once_it_is_too_late(
    stores: Stores, limits: LimitStore
) -> None:
    await limits.put("calculate", permits=2, per_s=HOUR_S)
    reports = reports_of(stores.database)
    late, twice, other = new_job(extras=Extras(queue_timeout_s=60)), new_job(), new_job()
    await stores.submissions.accept([Submission((late,))])
    await stores.database.fetch("UPDATE jobs SET expires_at = now() - interval '1 s'")
    await stores.add(twice, other)
    batch = [claim(late), claim(twice), claim(twice, worker="w2"), claim(other)]
    answers = (await reports.apply(batch)).answers
    assert [answer.reason for answer in answers] == ["expired", None, "running_elsewhere", None]
    refused = new_job()
    await stores.add(refused)
    answers = (await reports.apply([claim(refused), claim(refused, worker="w2")])).answers
    assert [answer.reason for answer in answers] == ["rate_limited", "rate_limited"]


async def test_the_dispatcher_sends_it_at_its_slot(stores: Stores, limits: LimitStore) -> None:
    await limits.put("calculate", permits=1, per_s=HOUR_S)
    jobs = [new_job(), new_job()]
    await stores.add(*jobs)
    await told(reports_of(stores.database), *jobs)
    [row] = await stores.database.fetch(
        "SELECT extract(epoch FROM rate_slot - ready_at)::float8 AS s FROM jobs WHERE rate_slot IS NOT NULL"
    )
    assert row["s"] == OLDER_THAN_S


async def test_a_line_longer_than_is_looked_at_is_joined_at_its_end(stores: Stores, limits: LimitStore) -> None:
    await limits.put("calculate", permits=1, per_s=10.0)
    reports = reports_of(stores.database)
    jobs = [new_job() for _ in range(1004)]
    await stores.add(*jobs)
    await told(reports, *jobs[:502])
    await told(reports, *jobs[502:1002])
    assert await told(reports, *jobs[1002:]) == ["rate_limited", "rate_limited"]
    waits = await waits_s(stores, *jobs[1000:])
    assert [round((s or 0) / 10) for s in waits] == [1000, 1001, 1002, 1003]


class TestAChange:
    async def test_lowers_at_once_and_gives_no_token_away(self, limits: LimitStore) -> None:
        assert (await limits.put("calculate", permits=10, per_s=HOUR_S)).tokens == 10
        assert (await limits.put("calculate", permits=4, per_s=HOUR_S)).tokens == 4
        assert (await limits.put("calculate", permits=100, per_s=HOUR_S)).tokens < 4.1

    async def test_what_waits_need_not_wait_longer_than_the_new_limit_asks(
        self, stores: Stores, limits: LimitStore
    ) -> None:
        await limits.put("calculate", permits=1, per_s=HOUR_S)
        jobs = [new_job() for _ in range(8)]
        await stores.add(*jobs)
        await told(reports_of(stores.database), *jobs)
        await limits.put("calculate", permits=10, per_s=100.0)
        waits = await waits_s(stores, *jobs[1:])
        assert [round(s or 0, -1) for s in waits] == [10, 20, 30, 40, 50, 60, 70]
        await limits.put("calculate", permits=1, per_s=HOUR_S)
        assert await waits_s(stores, *jobs[1:]) < waits  # later only when they have come and found no token

    async def test_lifted_all_go_on_however_many_there_are(self, stores: Stores, limits: LimitStore) -> None:
        await limits.put("calculate", permits=1, per_s=HOUR_S)
        await limits.put("validate", permits=1, per_s=HOUR_S)
        jobs, others = [new_job() for _ in range(8)], [new_job(type="validate") for _ in range(2)]
        await stores.add(*jobs, *others)
        await told(reports_of(stores.database), *jobs, *others)
        await limits.delete("calculate")
        assert await waits_s(stores, *jobs) == [None] * 8
        assert [s is None for s in await waits_s(stores, *others)] == [True, False]
        assert await stores.database.fetch("SELECT 1 FROM jobs WHERE type = 'calculate' AND ready_at > now()") == []
        with pytest.raises(NotFound):
            await limits.delete("calculate")

    async def test_a_lift_that_was_cut_short_is_finished_by_the_next(self, stores: Stores, limits: LimitStore) -> None:
        await limits.put("calculate", permits=1, per_s=HOUR_S)
        jobs = [new_job() for _ in range(4)]
        await stores.add(*jobs)
        await told(reports_of(stores.database), *jobs)
        await LimitStore(stores.database, time_s=0).delete("calculate")
        assert None not in await waits_s(stores, *jobs[1:])
        await limits.delete("calculate")
        assert await waits_s(stores, *jobs) == [None] * 4


async def test_over_rest(database_url: str) -> None:
    async with running_gateway(database_url) as gateway:
        put = await gateway.client.put("/api/rate-limits/distriqueue.webhook", json={"permits": 10, "perSeconds": 60})
        assert (put.status_code, put.json()) == (
            200,
            {"type": "distriqueue.webhook", "permits": 10, "perSeconds": 60.0, "freeNow": 10.0},
        )
        await gateway.client.put("/api/rate-limits/calculate", json={"permits": 1})
        listed = (await gateway.client.get("/api/rate-limits")).json()
        assert [(limit["type"], limit["perSeconds"]) for limit in listed] == [
            ("calculate", 1.0),
            ("distriqueue.webhook", 60.0),
        ]
        for wrong in ({"permits": 0}, {"permits": 1, "perSeconds": 0.1}, {"perSeconds": 1}, {"permits": 1, "x": 1}):
            refused = await gateway.client.put("/api/rate-limits/calculate", json=wrong)
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request"), wrong
        assert (await gateway.client.delete("/api/rate-limits/calculate")).status_code == 204
        assert (await gateway.client.delete("/api/rate-limits/calculate")).status_code == 404
        trail = (await gateway.client.get("/api/audit")).json()["content"]
        assert [(entry["action"], entry["target"]) for entry in reversed(trail)] == [
            ("rate_limit.set", "distriqueue.webhook"),
            ("rate_limit.set", "calculate"),
            ("rate_limit.lift", "calculate"),
            ("rate_limit.lift", "calculate"),
        ]


async def test_another_gateway_hears_of_a_limit_within_a_second(database_url: str) -> None:
    async with running_gateway(database_url) as first, running_gateway(database_url) as second:
        await second.report((await second.submit())["id"], "running")  # its routes are fresh
        await first.client.put("/api/rate-limits/calculate", json={"permits": 1, "perSeconds": 3600})
        begin, answer = time.monotonic(), {"answer": "accepted"}
        while answer["answer"] == "accepted":
            begun = time.monotonic() - begin
            assert begun < 1.5
            answer = await second.report((await second.submit())["id"], "running")
        assert answer["reason"] == "rate_limited"


async def test_a_confirmation_that_comes_after_the_refusal_changes_nothing(stores: Stores, limits: LimitStore) -> None:
    """The broker has the dispatch no more: marked `queued`, the job would wait for the reconciler."""
    await limits.put("calculate", permits=1, per_s=HOUR_S)
    jobs = [new_job(), new_job()]
    await stores.add(*jobs)
    await told(reports_of(stores.database), *jobs)
    assert await stores.jobs.mark_queued([job.dispatch() for job in jobs]) == 0
    assert (await stores.get(jobs[1])).status == "pending"
