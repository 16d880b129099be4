"""What the figures of two moments say of the time between them."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from distriqueue.core.errors import StoreUnavailable
from distriqueue.core.job import Priority
from distriqueue.store.routing import LaneBacklog, LaneControl
from distriqueue.store.statistics import Figures, Tally
from gateway.dashboard.sampler import Lane, Sample, Sampler

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def sample(at_s: float, oldest_s: float = 0.0, workers: Any = (), **tally: float) -> Sample:
    lane = Lane(Priority.LOW, LaneControl(False, None, NOW), LaneBacklog(3, is_exact=True, oldest_s=oldest_s), None)
    figures = Figures(overall=Tally(**cast("Any", tally)))
    return Sample(at_s, datetime.fromtimestamp(NOW.timestamp() + at_s, UTC), figures, [lane], list(workers))


def sampler(*samples: Sample) -> Sampler:
    nothing = cast("Any", None)
    made = Sampler(nothing, nothing, nothing, nothing, nothing)
    made._samples.extend(samples)
    return made


def test_rates_are_of_the_time_between() -> None:
    rates = sampler(
        sample(0, jobs=10, completed=5, failed=0, started=5, queue_ms=100, run_ms=50),
        sample(30, jobs=70, completed=32, failed=3, cancelled=1, started=40, queue_ms=1_150, run_ms=590),
    ).rates(60)
    assert rates is not None
    assert (rates.submitted, rates.completed, rates.failed, rates.ended) == (60, 27, 3, 31)
    assert rates.ended_per_min == 62
    assert rates.submitted_per_min == 120
    assert rates.failure_share == 0.1
    assert rates.queue_s == 0.03
    assert rates.run_s == 0.02


def test_only_the_last_seconds_count() -> None:
    made = sampler(*(sample(at, completed=done) for at, done in ((0, 0), (100, 600), (160, 610))))
    rates = made.rates(60)
    assert rates is not None
    assert rates.completed == 10


def test_where_nothing_happened_there_is_no_share() -> None:
    rates = sampler(sample(0), sample(10)).rates(60)
    assert rates is not None
    assert rates.failure_share is None
    assert rates.queue_s is None
    assert rates.ended_per_min == 0


def test_one_sample_says_nothing_of_rates() -> None:
    assert sampler(sample(0)).rates(60) is None
    assert sampler(sample(0)).points() == []
    assert sampler().points() == []


def test_points_are_of_the_last_hour_and_not_too_many() -> None:
    made = sampler(*(sample(at, completed=at) for at in range(0, 7_200, 5)))
    points = made.points()
    assert 200 <= len(points) <= 241
    assert all(point.rates.ended_per_min == 60 for point in points)
    assert points[-1].at_s - points[0].at_s <= 3_600


def test_saturation_is_of_the_living() -> None:
    workers = [
        {"state": "ACTIVE", "capacity": 10, "load": 5},
        {"state": "IDLE", "capacity": 10, "load": 0},
        {"state": "STOPPED", "capacity": 100, "load": 100},
    ]
    assert sample(0, workers=workers).saturation == 0.25
    assert sample(0).saturation is None


class TestWatch:
    async def test_a_stale_reading_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = sampler()

        async def read(_self: Sampler) -> Sample:
            return sample(1)

        monkeypatch.setattr(Sampler, "_read", read)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            watching = group.create_task(made.watch())
            await asyncio.sleep(0)
            assert not watching.done()
            await made._step()
        assert watching.result().at_s == 1
        assert await made.watch() is made.latest, "now it is fresh"

    async def test_without_one_in_time_it_is_said(self) -> None:
        with pytest.raises(StoreUnavailable, match="within"):
            await sampler(sample(1)).watch(timeout_s=0.01)

    async def test_after_a_reading_that_failed_old_figures_are_not_passed_off_as_new(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = sampler(sample(1))

        async def read(_self: Sampler) -> Sample:
            raise StoreUnavailable("Postgres is away")

        monkeypatch.setattr(Sampler, "_read", read)
        with pytest.raises(StoreUnavailable):
            await made._step()
        with pytest.raises(StoreUnavailable, match="Postgres is away"):
            await made.watch()
        assert made.latest is not None
