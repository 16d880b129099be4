"""Figures that are exact wherever the roll-up stands, and that nothing counts twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from distriqueue.core.errors import Fenced
from distriqueue.core.job import Priority
from distriqueue.core.messages import ReportStatus
from distriqueue.store import statistics as module
from distriqueue.store.statistics import Figures, StatisticsStore, ceil_hour, floor_hour
from orchestrator.duties.statistics import Statistics
from tests.integration.leader import Leader, leading


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


async def live(leader: Leader) -> None:
    """Two completed, one failed, one retrying, one cancelled, one running with progress, one pending."""
    completed = [await leader.submit(Priority.HIGH) for _ in range(2)]
    for job_id in completed:
        await leader.run_on("w1", job_id)
        await leader.report("w1", job_id, ReportStatus.COMPLETED)
    failed, retrying = await leader.submit(max_retries=0), await leader.submit()
    for job_id in (failed, retrying):
        await leader.run_on("w2", job_id)
        await leader.report("w2", job_id, ReportStatus.FAILED)
    await leader.jobs.cancel(await leader.submit())
    running = await leader.submit(Priority.LOW)
    await leader.run_on("w1", running)
    await leader.database.fetch("UPDATE jobs SET progress = 50 WHERE id = $1", running)
    await leader.submit()


async def read(leader: Leader, start: datetime | None = None, end: datetime | None = None) -> Figures:
    return await StatisticsStore(leader.database).read(start, end)


def check(figures: Figures, *, times: int = 1) -> None:
    """Compare with what `live` did."""
    expected = {"completed": 2, "failed": 1, "retrying": 1, "cancelled": 1, "running": 1, "pending": 1}
    assert figures.stored == {status: count * times for status, count in expected.items()}
    overall = figures.overall
    told = (overall.jobs, overall.started, overall.completed, overall.failed, overall.cancelled, overall.retried)
    assert told == tuple(count * times for count in (7, 5, 2, 1, 1, 1))
    assert {name: tally.jobs for name, tally in figures.by_priority.items()} == {
        "HIGH": 2 * times,
        "MEDIUM": 4 * times,
        "LOW": 1 * times,
    }
    assert {name: (tally.jobs, tally.completed) for name, tally in figures.by_worker.items()} == {
        "w1": (3 * times, 2 * times),
        "w2": (2 * times, 0),
    }
    assert sum(tally.jobs for tally in figures.by_hour.values()) == 7 * times


async def roll(leader: Leader, *, batch: int = 20_000) -> int:
    """Sum up everything; return how many runs did something."""
    duty, runs = Statistics(StatisticsStore(leader.database), batch=batch), 0
    while (await duty.run(leader.epoch)).done:
        runs += 1
    return runs


async def test_exact_before_during_and_after_the_roll_up(leader: Leader) -> None:
    await live(leader)
    check(await read(leader))
    duty = Statistics(StatisticsStore(leader.database), batch=5)
    behind = (await read(leader)).behind
    assert behind > 15
    runs = 0
    while (await duty.run(leader.epoch)).done:
        runs += 1
        check(await read(leader))
    assert runs == -(-behind // 5)
    assert (await read(leader)).behind == 0
    await live(leader)
    check(await read(leader), times=2)
    await roll(leader)
    check(await read(leader), times=2)


async def test_the_totals_are_those_of_the_table(leader: Leader) -> None:
    await live(leader)
    await roll(leader)
    rows = await leader.database.fetch("SELECT status, count(*) AS jobs FROM jobs GROUP BY status")
    assert (await read(leader)).stored == {row["status"]: row["jobs"] for row in rows}


async def test_average_times(leader: Leader) -> None:
    for waited_s, ran_s in ((1, 2), (3, 4)):
        job_id = await leader.submit()
        await leader.change(job_id, f"ready_at = now() - interval '{waited_s} s'")
        await leader.run_on("w1", job_id)
        await leader.change(job_id, f"started_at = started_at - interval '{ran_s} s'")
        await leader.report("w1", job_id, ReportStatus.COMPLETED)
    for _ in range(2):
        overall = (await read(leader)).overall
        assert overall.average_queue_ms == pytest.approx(2000, abs=300)
        assert overall.average_run_ms == pytest.approx(3000, abs=300)
        await roll(leader)


async def test_a_span_is_widened_to_whole_hours(leader: Leader) -> None:
    await live(leader)
    old = await leader.submit()
    yesterday = floor_hour(await leader.now()) - timedelta(days=1)
    await leader.database.fetch("UPDATE events SET at = $2, created_at = $2 WHERE job_id = $1", old, yesterday)
    for _ in range(2):
        now = await leader.now()
        check(await read(leader, now - timedelta(minutes=1), now + timedelta(hours=1)))
        before = await read(leader, yesterday + timedelta(minutes=30), yesterday + timedelta(minutes=31))
        assert (before.stored, before.overall.jobs, list(before.by_hour)) == ({"pending": 1}, 1, [yesterday])
        assert (await read(leader, None, yesterday)).stored == {}
        assert (await read(leader, now + timedelta(hours=2))).overall.jobs == 0
        await roll(leader)


async def test_a_job_of_an_older_transaction_is_waited_for(leader: Leader) -> None:
    await leader.submit()
    duty = Statistics(StatisticsStore(leader.database))
    async with leader.database.transaction() as slow:
        await slow.execute(
            "INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, payload)"
            " VALUES (gen_random_uuid(), 'slow', 'LOW', 'pending', 3, 300, '{}')"
        )
        await leader.submit()
        outcome = await duty.run(leader.epoch)
        assert (outcome.done, outcome.note) == (0, "waits for an older transaction to end")
        assert (await read(leader)).overall.jobs == 2
    assert (await read(leader)).overall.jobs == 3
    while (await duty.run(leader.epoch)).done:
        pass
    read_again = await read(leader)
    assert (read_again.behind, read_again.overall.jobs, read_again.stored) == (0, 3, {"pending": 3})


async def test_exact_under_writers_and_a_roll_up_at_once(leader: Leader) -> None:
    duty = Statistics(StatisticsStore(leader.database), batch=7)
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(25):
            job_id = await leader.submit()
            await leader.run_on("w1", job_id)
            await leader.report("w1", job_id, ReportStatus.COMPLETED)

    async def work() -> None:
        while not done.is_set():
            await duty.run(leader.epoch)

    async def look() -> None:
        seen = 0
        while not done.is_set():
            figures = await read(leader)
            assert sum(figures.stored.values()) == figures.overall.jobs >= seen
            assert figures.stored.get("completed", 0) == figures.overall.completed
            seen = figures.overall.jobs

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        group.create_task(look())
        async with asyncio.TaskGroup() as writers:
            for _ in range(2):
                writers.create_task(write())
        done.set()
    await roll(leader)
    figures = await read(leader)
    assert (figures.behind, figures.stored, figures.overall.completed) == (0, {"completed": 50}, 50)


async def test_a_stale_leader_counts_nothing(leader: Leader) -> None:
    await live(leader)
    await leader.leadership.claim(2, node="node2", boot="boot2")
    with pytest.raises(Fenced):
        await Statistics(StatisticsStore(leader.database)).run(1)
    assert await leader.database.fetch("SELECT 1 FROM job_totals") == []
    leader.epoch = 2
    await roll(leader)
    check(await read(leader))


async def test_what_a_reader_adds_is_bounded(leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TAIL", 3)
    for _ in range(5):
        await leader.submit()
    figures = await read(leader)
    assert (figures.behind, figures.overall.jobs) == (3, 3)


def test_hours() -> None:
    at = datetime(2026, 1, 1, 12, 30, 1, tzinfo=UTC)
    whole = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert (floor_hour(at), ceil_hour(at)) == (whole, whole + timedelta(hours=1))
    assert (floor_hour(whole), ceil_hour(whole)) == (whole, whole)
