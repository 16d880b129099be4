"""What is old enough goes, in bounded batches, and nothing else."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from distriqueue.core.errors import Fenced
from distriqueue.core.job import JobId
from distriqueue.core.messages import ReportStatus
from distriqueue.settings import DutySettings
from distriqueue.store.access import AuditStore, Entry
from distriqueue.store.events import EventStore
from distriqueue.store.retention import RetentionStore
from distriqueue.store.statistics import StatisticsStore
from orchestrator.duties.retention import Kept, Retention
from orchestrator.duties.statistics import Statistics
from tests.integration.leader import Leader, leading

DAY_S = 86_400.0


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


def retention(leader: Leader, **batches: int) -> Retention:
    store, figures = RetentionStore(leader.database), StatisticsStore(leader.database)
    return Retention(store, figures, AuditStore(leader.database), Kept.of(DutySettings.load()), **batches)


async def rolled(leader: Leader) -> None:
    """Sum up all events."""
    duty = Statistics(StatisticsStore(leader.database))
    while (await leader.database.fetch("SELECT (SELECT max(seq) FROM events) > seq AS behind FROM event_rollup"))[0][0]:
        await duty.run(leader.epoch)


async def finished(leader: Leader, status: str, *, days_ago: float, created_days_ago: float | None = None) -> JobId:
    """Store a job that ended some days ago."""
    job_id = await leader.submit(max_retries=0)
    if status == "cancelled":
        await leader.jobs.cancel(job_id)
    else:
        await leader.run_on("w1", job_id)
        await leader.report("w1", job_id, ReportStatus(status))
    created = days_ago if created_days_ago is None else created_days_ago
    await leader.change(
        job_id, f"created_at = now() - interval '{created} days', finished_at = now() - interval '{days_ago} days'"
    )
    return job_id


async def exists(leader: Leader, *job_ids: JobId) -> list[bool]:
    found = {row["id"] for row in await leader.database.fetch("SELECT id FROM jobs")}
    return [job_id in found for job_id in job_ids]


async def age_events(leader: Leader, until: int, *, days: float) -> None:
    statement = "UPDATE events SET at = at - make_interval(secs => $2) WHERE seq <= $1"
    await leader.database.fetch(statement, until, days * DAY_S)


async def seqs(leader: Leader) -> list[int]:
    return [row["seq"] for row in await leader.database.fetch("SELECT seq FROM events ORDER BY seq")]


async def test_old_events_go_from_the_old_end_and_the_floor_follows(leader: Leader) -> None:
    for _ in range(10):
        await leader.submit()
    await rolled(leader)
    all_seqs = await seqs(leader)
    await age_events(leader, all_seqs[6], days=7.1)
    await age_events(leader, all_seqs[1], days=-7)  # younger than those behind them: nothing passes over these
    assert (await retention(leader).run(leader.epoch)).done == 0
    await age_events(leader, all_seqs[1], days=7)
    duty = retention(leader, batch_events=4)
    outcomes = [await duty.run(leader.epoch) for _ in range(2)]
    assert [(each.done, each.more) for each in outcomes] == [(4, True), (3, False)]
    assert await seqs(leader) == all_seqs[7:]
    assert await EventStore(leader.database).floor() == all_seqs[6]


async def test_events_that_are_not_summed_up_stay(leader: Leader) -> None:
    await leader.submit()
    await rolled(leader)
    await leader.submit()
    all_seqs = await seqs(leader)
    await age_events(leader, all_seqs[-1], days=30)
    assert (await retention(leader).run(leader.epoch)).done == 1
    assert await seqs(leader) == all_seqs[-1:]


async def test_each_status_is_kept_as_long_as_the_settings_say(leader: Leader) -> None:
    gone = [
        await finished(leader, "completed", days_ago=30.1),
        await finished(leader, "cancelled", days_ago=30.1),
        await finished(leader, "failed", days_ago=90.1),
        await finished(leader, "timeout", days_ago=90.1),
    ]
    stays = [
        await finished(leader, "completed", days_ago=29.9),
        await finished(leader, "completed", days_ago=1, created_days_ago=400),
        await finished(leader, "failed", days_ago=89.9),
        await leader.submit(),
    ]
    await leader.change(stays[-1], "created_at = now() - interval '400 days'")
    outcome = await retention(leader).run(leader.epoch)
    assert (outcome.done, outcome.more) == (4, False)
    assert await exists(leader, *gone, *stays) == [False] * 4 + [True] * 4


async def test_attempts_go_with_their_job(leader: Leader) -> None:
    job_id = await leader.submit(max_retries=1)
    await leader.run_on("w1", job_id)
    await leader.report("w1", job_id, ReportStatus.FAILED)
    assert len(await leader.attempts(job_id)) == 1
    await leader.jobs.cancel(job_id)
    old = "now() - interval '100 days'"
    await leader.change(job_id, f"created_at = {old}, finished_at = {old}")
    assert (await retention(leader).run(leader.epoch)).done == 1
    assert await leader.attempts(job_id) == []


async def test_edges_go_with_either_of_their_jobs(leader: Leader) -> None:
    first, old, last = [await finished(leader, "completed", days_ago=days) for days in (1, 40, 1)]
    await leader.database.fetch(
        "INSERT INTO dependencies (parent_id, child_id, place, needed, resolved) SELECT *, 0, true, true "
        "FROM unnest($1::uuid[], $2::uuid[])",
        [first, old, first],
        [old, last, last],
    )
    assert (await retention(leader).run(leader.epoch)).done == 1
    left = await leader.database.fetch("SELECT parent_id, child_id FROM dependencies")
    assert [tuple(row) for row in left] == [(first, last)]


async def test_the_walk_is_bounded_and_goes_on_behind_what_stays(leader: Leader) -> None:
    kept = [await finished(leader, "failed", days_ago=60 + number) for number in range(3)]
    gone = [await finished(leader, "completed", days_ago=40 + number) for number in range(3)]
    duty = retention(leader, batch_jobs=2)
    outcomes = [await duty.run(leader.epoch) for _ in range(4)]
    assert [(each.done, each.more) for each in outcomes] == [(0, True), (1, True), (2, True), (0, False)]
    assert await exists(leader, *kept, *gone) == [True] * 3 + [False] * 3


async def test_passes_over_what_others_have_locked(leader: Leader) -> None:
    job_id = await finished(leader, "failed", days_ago=100)
    async with leader.database.transaction() as other:
        await other.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", job_id)
        assert (await retention(leader).run(leader.epoch)).done == 0
    assert (await retention(leader).run(leader.epoch)).done == 1


async def test_what_is_gone_leaves_the_totals_and_stays_in_the_history(leader: Leader) -> None:
    await finished(leader, "completed", days_ago=40)
    await finished(leader, "failed", days_ago=1)
    await rolled(leader)
    figures = StatisticsStore(leader.database)
    assert (await figures.read(None, None)).stored == {"completed": 1, "failed": 1}
    await retention(leader).run(leader.epoch)
    read = await figures.read(None, None)
    assert read.stored == {"failed": 1}
    assert (read.overall.jobs, read.overall.completed, read.overall.failed) == (2, 1, 1)


async def test_old_hours_go_and_the_sums_over_all_time_stay(leader: Leader) -> None:
    await finished(leader, "completed", days_ago=0)
    await rolled(leader)
    for table in ("job_counts_hourly", "worker_counts_hourly"):
        await leader.database.fetch(f"UPDATE {table} SET hour = hour - interval '500 days' WHERE hour > '-infinity'")
    assert (await retention(leader).run(leader.epoch)).done == 2
    read = await StatisticsStore(leader.database).read(None, None)
    assert (read.overall.completed, read.by_hour) == (1, {})


async def test_a_batch_goes_after_its_last_job_and_webhook(leader: Leader) -> None:
    batches = sorted(uuid4() for _ in range(4))
    young, with_job, with_webhook, last = batches
    await leader.database.fetch("INSERT INTO batches (id, jobs) SELECT id, 1 FROM unnest($1::uuid[]) AS id", batches)
    await leader.database.fetch("UPDATE batches SET created_at = now() - interval '31 days' WHERE id <> $1", young)
    old, recent, webhook = [await finished(leader, "completed", days_ago=days) for days in (31, 1, 1)]
    await leader.change(old, f"batch_id = '{last}'")
    await leader.change(recent, f"batch_id = '{with_job}'")
    await leader.database.fetch("INSERT INTO batch_webhooks VALUES ($1, $2)", with_webhook, webhook)
    duty = retention(leader, batch_rest=3)

    async def left() -> list[UUID]:
        return [row["id"] for row in await leader.database.fetch("SELECT id FROM batches ORDER BY id")]

    assert [(await duty.run(leader.epoch)).done for _ in range(2)] == [
        1,
        1,
    ]  # the job, and behind the first three its batch
    assert await left() == [young, with_job, with_webhook]
    for job_id in (recent, webhook):
        await leader.change(job_id, "created_at = now() - interval '31 days', finished_at = now() - interval '31 days'")
    assert sum([(await duty.run(leader.epoch)).done for _ in range(3)]) == 4  # from the first one on again
    assert await left() == [young]


async def test_the_audit_log_goes_by_age(leader: Leader) -> None:
    audit = AuditStore(leader.database)
    for number in range(5):
        await audit.append(Entry("cli", "apikey.revoke", str(number), {}))
    await leader.database.fetch("UPDATE audit_log SET at = now() - interval '401 days' WHERE target < '3'")
    duty = retention(leader, batch_rest=2)
    outcomes = [await duty.run(leader.epoch) for _ in range(2)]
    assert [(each.done, each.more) for each in outcomes] == [(2, True), (1, False)]
    assert [entry.entry.target for entry in await audit.page(limit=10)] == ["4", "3"]


async def test_a_stale_leader_drops_nothing(leader: Leader) -> None:
    job_id = await finished(leader, "completed", days_ago=40)
    await rolled(leader)
    await age_events(leader, 10_000, days=8)
    before = await seqs(leader)
    await leader.leadership.claim(2, node="node2", boot="boot2")
    store = RetentionStore(leader.database)
    with pytest.raises(Fenced):
        await store.drop_events(older_than_s=1, limit=10, epoch=leader.epoch)
    with pytest.raises(Fenced):
        await retention(leader).run(leader.epoch)
    assert (await seqs(leader), await exists(leader, job_id)) == (before, [True])
