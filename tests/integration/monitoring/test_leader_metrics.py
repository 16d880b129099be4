"""What the leader counts and shows, from a real Postgres."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from distriqueue.core.job import Priority
from distriqueue.core.messages import ReportStatus
from distriqueue.store.dashboard import DashboardStore
from distriqueue.store.routing import RoutingStore
from distriqueue.store.server import ServerStore
from distriqueue.store.statistics import StatisticsStore
from distriqueue.store.workers import WorkerStore
from orchestrator.duties.gauges import STALE_S, Gauges, Sources
from orchestrator.duties.statistics import Statistics
from orchestrator.metrics import Lifetimes
from tests.integration.leader import Leader, leading
from tests.unit.orchestrator.fakes import FakeLeadership


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


def shown(collector: Any) -> dict[tuple[str, ...], float]:
    """By name and the labels' values."""
    return {
        (sample.name.removeprefix("distriqueue_"), *sample.labels.values()): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


async def roll(leader: Leader, lifetimes: Lifetimes, *, batch: int = 20_000) -> None:
    duty = Statistics(
        StatisticsStore(leader.database), batch=batch, bounds_s=lifetimes.bounds_s, on_steps=lifetimes.told
    )
    while (await duty.run(leader.epoch)).done:
        pass


async def run(leader: Leader, status: ReportStatus, *, waited_s: float = 0, ran_s: float = 0, **new: Any) -> None:
    job_id = await leader.submit(Priority.HIGH, **new)
    await leader.change(job_id, f"ready_at = now() - interval '{waited_s} s'")
    await leader.run_on("w1", job_id)
    await leader.change(job_id, f"started_at = started_at - interval '{ran_s} s'")
    await leader.report("w1", job_id, status)


@pytest.mark.parametrize("batch", [3, 20_000])
async def test_every_step_counts_once_however_the_log_is_summed_up(leader: Leader, batch: int) -> None:
    lifetimes = Lifetimes()
    await run(leader, ReportStatus.COMPLETED, waited_s=3, ran_s=20)
    await roll(leader, lifetimes, batch=batch)
    await run(leader, ReportStatus.COMPLETED)
    await run(leader, ReportStatus.FAILED, max_retries=0)
    await run(leader, ReportStatus.FAILED)
    await leader.jobs.cancel(await leader.submit(Priority.LOW))
    await roll(leader, lifetimes, batch=batch)
    counted = shown(lifetimes)
    assert (counted["jobs_submitted_total", "HIGH"], counted["jobs_submitted_total", "LOW"]) == (4, 1)
    ends = [("completed", "HIGH", 2), ("failed", "HIGH", 1), ("cancelled", "LOW", 1), ("cancelled", "HIGH", 0)]
    assert [counted["jobs_finished_total", status, lane] for status, lane, _ in ends] == [count for *_, count in ends]
    assert counted["retries_total", "HIGH"] == 1
    assert (counted["job_wait_seconds_count", "HIGH"], counted["job_run_seconds_count", "HIGH"]) == (4, 4)
    assert (counted["job_wait_seconds_bucket", "HIGH", "2.5"], counted["job_wait_seconds_bucket", "HIGH", "5.0"]) == (
        3,
        4,
    )
    assert (counted["job_run_seconds_bucket", "HIGH", "10.0"], counted["job_run_seconds_bucket", "HIGH", "30.0"]) == (
        3,
        4,
    )
    assert counted["job_run_seconds_sum", "HIGH"] == pytest.approx(20, abs=2)
    assert (counted["job_total_seconds_count", "HIGH"], counted["job_total_seconds_count", "LOW"]) == (3, 0)


async def test_deliveries_of_webhooks_are_counted_by_outcome(leader: Leader) -> None:
    await run(leader, ReportStatus.COMPLETED)
    delivered, retried = await leader.submit(), await leader.submit()
    for job_id, status in ((delivered, ReportStatus.COMPLETED), (retried, ReportStatus.FAILED)):
        await leader.change(job_id, "type = 'distriqueue.webhook'")
        await leader.run_on("w1", job_id)
        await leader.report("w1", job_id, status)
    lifetimes = Lifetimes()
    await roll(leader, lifetimes)
    counted = shown(lifetimes)
    outcomes = ("delivered", "retried", "failed")
    assert [counted["webhook_deliveries_total", outcome] for outcome in outcomes] == [1, 1, 0]


async def test_the_cluster_is_shown_while_this_node_leads_and_looks(leader: Leader) -> None:
    waiting = await leader.submit(Priority.HIGH)
    await leader.change(waiting, "ready_at = now() - interval '30 s'")
    await leader.broker.publish([(await leader.duties.stranded({}, older_than_s=1, limit=1))[0].dispatch])
    await run(leader, ReportStatus.FAILED, max_retries=0)
    await leader.beat("w1", capacity=4, current_load=3)
    await leader.beat("w2", capacity=2, current_load=2)
    await leader.beat("w3", capacity=9, stopped=True)
    await RoutingStore(leader.database).pause(Priority.LOW)
    await roll(leader, Lifetimes())
    now = [0.0]
    leadership, store = FakeLeadership(), leader.database
    sources = Sources(
        StatisticsStore(store),
        RoutingStore(store),
        DashboardStore(store),
        WorkerStore(store),
        ServerStore(store),
        leader.broker,
    )
    gauges = Gauges(sources, leadership, clock=lambda: now[0])
    assert list(gauges.collect()) == []
    await gauges.run(leader.epoch)
    seen = shown(gauges)
    assert [seen["jobs", status] for status in ("pending", "failed", "running")] == [1, 1, 0]
    assert (seen["queue_depth", "HIGH", "pending"], seen["queue_depth", "HIGH", "queued"]) == (1, 0)
    assert seen["queue_oldest_seconds", "HIGH"] == pytest.approx(30, abs=5)
    assert seen["queue_oldest_seconds", "LOW"] == 0
    assert (seen["lane_paused", "LOW"], seen["lane_paused", "HIGH"]) == (1, 0)
    assert seen["broker_ready", "HIGH"] == 1
    assert [seen["workers", state] for state in ("ACTIVE", "OVERLOADED", "STOPPED", "IDLE")] == [1, 1, 1, 0]
    assert (seen["worker_slots", "busy"], seen["worker_slots", "free"]) == (5, 1)
    assert seen["postgres_table_bytes", "jobs"] > 0
    assert 0 < seen["postgres_connections",] <= seen["postgres_connections_limit",]
    leadership.become(None)
    assert list(gauges.collect()) == []
    leadership.become(1)
    now[0] = STALE_S + 1
    assert list(gauges.collect()) == []
