"""When duties run, and what is reported of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from distriqueue.core.errors import Fenced, StoreUnavailable
from orchestrator.duties.duty import Outcome
from orchestrator.duties.supervisor import Supervisor
from tests.unit.orchestrator.fakes import FakeDuty, FakeLeadership, Midpoint, Noted


@contextlib.asynccontextmanager
async def running(duty: FakeDuty, leadership: FakeLeadership, noted: Noted | None = None) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor([duty], leadership, observer=noted or Noted(), rng=Midpoint())
    stop = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(stop))
        try:
            yield supervisor
        finally:
            stop.set()


async def test_a_full_batch_is_followed_at_once() -> None:
    duty = FakeDuty([Outcome(5, more=True), Outcome(5, more=True), Outcome(1)], interval_s=60)
    noted = Noted()
    async with running(duty, FakeLeadership(), noted) as supervisor:
        await duty.over.wait()
    report = supervisor.reports["fake"]
    assert (report.runs, report.done, report.last_done, report.failures) == (3, 11, 1, 0)
    assert report.last_run_at is not None
    assert report.last_duration_s is not None
    assert noted.heard == [("ran", "fake", 5), ("ran", "fake", 5), ("ran", "fake", 1)]


async def test_the_next_due_time_shortens_the_interval() -> None:
    duty = FakeDuty([Outcome(0, next_in_s=0.02), Outcome(0)], interval_s=60)
    async with running(duty, FakeLeadership()):
        await duty.over.wait()
    assert duty.epochs == [1, 1]


async def test_only_the_leader_works_and_is_woken_by_the_change() -> None:
    duty, leadership = FakeDuty([Outcome(0)], interval_s=60), FakeLeadership(held=None)
    async with running(duty, leadership):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert duty.epochs == []
        leadership.become(7)
        async with asyncio.timeout(0.5):
            await duty.over.wait()
    assert duty.epochs == [7]


async def test_a_fence_is_told_to_the_leadership_and_ends_the_work() -> None:
    duty, leadership = FakeDuty([Fenced("epoch 1 is over"), Outcome(0)]), FakeLeadership()
    async with running(duty, leadership) as supervisor:
        await leadership.told.wait()
        assert duty.epochs == [1]
        leadership.become(2)
        await duty.over.wait()
    assert (leadership.refused, duty.epochs) == ([1], [1, 2])
    assert supervisor.reports["fake"].last_error == "epoch 1 is over"


async def test_an_outage_is_reported_and_outlived() -> None:
    away = StoreUnavailable("Postgres does not answer")
    duty, noted = FakeDuty([away, away, Outcome(3)]), Noted()
    async with running(duty, FakeLeadership(), noted) as supervisor:
        await duty.over.wait()
    report = supervisor.reports["fake"]
    assert (report.failures, report.failures_in_row, report.last_done) == (2, 0, 3)
    assert report.last_error == "Postgres does not answer"
    assert noted.heard == [("failed", "fake"), ("failed", "fake"), ("ran", "fake", 3)]


async def test_a_bug_ends_the_process() -> None:
    class Broken(FakeDuty):
        async def run(self, epoch: int) -> Outcome:
            raise LookupError(f"a bug in epoch {epoch}")

    supervisor = Supervisor([Broken([])], FakeLeadership(), observer=Noted())
    with pytest.RaisesGroup(LookupError):
        await asyncio.wait_for(supervisor.run(asyncio.Event()), 5)


async def test_stop_lets_the_run_under_way_end() -> None:
    began, let = asyncio.Event(), asyncio.Event()

    class Slow(FakeDuty):
        async def run(self, epoch: int) -> Outcome:
            began.set()
            await let.wait()
            return Outcome(epoch, more=True)

    duty, stop = Slow([]), asyncio.Event()
    supervisor = Supervisor([duty], FakeLeadership(), observer=Noted())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(stop))
        await began.wait()
        stop.set()
        await asyncio.sleep(0)
        let.set()
    assert (supervisor.reports["fake"].runs, supervisor.reports["fake"].done) == (1, 1)
