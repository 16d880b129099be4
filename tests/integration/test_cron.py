"""Cron schedules on a real database: once per fire time, by the database's clock, and what becomes of missed fires."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from distriqueue.core.errors import Conflict, Fenced, InvalidRequest, NotFound
from distriqueue.core.job import Priority
from distriqueue.core.messages import ReportStatus
from distriqueue.store.schedules import Plan, ScheduleStore
from orchestrator.duties.cron import CronFires
from tests.integration.leader import Leader, leading

SECONDLY = "* * * * * *"
NEVER_SOON = "0 0 1 1 *"


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


@pytest.fixture
def store(leader: Leader) -> ScheduleStore:
    return ScheduleStore(leader.database)


async def due(leader: Leader, name: str, *, ago_s: float) -> datetime:
    """Let the schedule's next fire be a whole second some seconds ago; return it."""
    at = (await leader.now()).replace(microsecond=0) - timedelta(seconds=ago_s)
    await leader.database.fetch("UPDATE schedules SET next_fire = $2 WHERE name = $1", name, at)
    return at


async def fires(leader: Leader, name: str) -> list[datetime]:
    rows = await leader.database.fetch(
        "SELECT schedule_fire_at FROM jobs WHERE schedule_name = $1 ORDER BY schedule_fire_at", name
    )
    return [row["schedule_fire_at"] for row in rows]


class TestStore:
    async def test_create_read_list_change_delete(self, leader: Leader, store: ScheduleStore) -> None:
        plan = Plan(
            "nightly", "30 2 * * *", "calculate", timezone="Europe/Berlin", tags=("a", 'q"\\'), payload_json="{}"
        )
        made = await store.create(plan)
        assert made.plan == plan
        assert made.next_fire is not None
        assert made.next_fire > await leader.now()
        assert (made.last_fire, made.fired, made.missed, made.overlapped, made.error) == (None, 0, 0, 0, None)
        assert await store.get("nightly") == made
        with pytest.raises(Conflict, match="'nightly' exists already"):
            await store.create(plan)
        await store.create(Plan("other", SECONDLY, "calculate"))
        assert [each.plan.name for each in await store.page()] == ["nightly", "other"]
        assert [each.plan.name for each in await store.page(after="nightly", limit=1)] == ["other"]
        changed = await store.update("nightly", priority=Priority.HIGH, payload_json='{"numbers": [1]}')
        assert (changed.plan.priority, changed.next_fire) == (Priority.HIGH, made.next_fire)
        assert changed.updated_at > made.updated_at
        moved = await store.update("nightly", cron="30 3 * * *")
        assert moved.next_fire not in (None, made.next_fire)
        await store.delete("nightly")
        for call in (store.get("nightly"), store.update("nightly", paused=True), store.delete("nightly")):
            with pytest.raises(NotFound):
                await call

    @pytest.mark.parametrize(
        ("change", "field"),
        [({"cron": "* * * *"}, "cron"), ({"cron": "0 0 31 2 *"}, "cron"), ({"timezone": "Mars/Base"}, "timezone")],
    )
    async def test_what_would_never_fire_is_refused(
        self, store: ScheduleStore, change: dict[str, str], field: str
    ) -> None:
        await store.create(Plan("kept", NEVER_SOON, "calculate"))
        with pytest.raises(InvalidRequest) as wrong:
            await store.create(Plan(**{"name": "new", "cron": SECONDLY, "type": "calculate"} | change))  # type: ignore[arg-type]
        assert wrong.value.errors[0]["field"] == field
        with pytest.raises(InvalidRequest):
            await store.update("kept", **change)
        assert [each.plan.cron for each in await store.page()] == [NEVER_SOON]

    async def test_next_fires_begin_with_the_next(self, store: ScheduleStore) -> None:
        made = await store.create(Plan("hourly", "0 * * * *", "calculate"))
        following = made.next_fires(3)
        assert following[0] == made.next_fire
        assert [later - earlier for earlier, later in pairwise(following)] == [timedelta(hours=1)] * 2
        assert (await store.update("hourly", paused=True)).next_fires(3) == []

    async def test_a_pause_is_not_made_up_for(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("second", SECONDLY, "calculate", paused=True))
        assert await store.next_due_s() is None
        duty = CronFires(store, leader.sender)
        assert (await duty.run(leader.epoch)).done == 0
        resumed = await store.update("second", paused=False)
        assert resumed.next_fire is not None
        assert resumed.next_fire > await leader.now() - timedelta(seconds=1)


class TestFires:
    async def test_a_fire_is_a_job_that_is_sent_and_linked(self, leader: Leader, store: ScheduleStore) -> None:
        plan = Plan(
            "first", NEVER_SOON, "calculate", payload_json='{"numbers": [7]}', priority=Priority.HIGH, max_retries=1,
            execution_timeout_s=9.0, tags=("cron",),
        )  # fmt: skip
        await store.create(plan)
        at = await due(leader, "first", ago_s=1)
        assert (await CronFires(store, leader.sender).run(leader.epoch)).done == 1
        (row,) = await leader.database.fetch("SELECT * FROM jobs")
        assert (row["schedule_name"], row["schedule_fire_at"], row["status"]) == ("first", at, "queued")
        assert (row["priority"], row["max_retries"], row["execution_timeout_s"], row["tags"], row["payload"]) == (
            "HIGH", 1, 9.0, ["cron"], '{"numbers": [7]}',
        )  # fmt: skip
        assert await leader.sent() == 1
        after = await store.get("first")
        assert (after.last_fire, after.last_job_id, after.fired, after.missed) == (at, row["id"], 1, 0)
        assert after.next_fire is not None
        assert after.next_fire > await leader.now()

    async def test_wakes_for_the_next_fire_time(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("second", SECONDLY, "calculate"))
        await due(leader, "second", ago_s=-60)
        outcome = await CronFires(store, leader.sender).run(leader.epoch)
        assert (outcome.done, outcome.more) == (0, False)
        assert outcome.next_in_s == pytest.approx(60, abs=1.1)

    async def test_late_fires_within_the_grace_are_all_made_up_for(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("second", SECONDLY, "calculate"))
        at = await due(leader, "second", ago_s=10)
        assert (await CronFires(store, leader.sender).run(leader.epoch)).done >= 10
        made = await fires(leader, "second")
        assert made == [at + timedelta(seconds=number) for number in range(len(made))]
        assert (await store.get("second")).missed == 0

    async def test_of_those_too_late_only_the_newest_fires(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("daily", "0 3 * * *", "calculate"))
        today = (await leader.now()).replace(hour=3, minute=0, second=0, microsecond=0)
        newest = today if today + timedelta(minutes=2) < await leader.now() else today - timedelta(days=1)
        await leader.database.fetch("UPDATE schedules SET next_fire = $1", newest - timedelta(days=4))
        assert (await CronFires(store, leader.sender).run(leader.epoch)).done == 1
        after = await store.get("daily")
        assert (await fires(leader, "daily"), after.missed, after.fired) == ([newest], 4, 1)
        assert after.next_fire == newest + timedelta(days=1)

    async def test_a_long_outage_of_every_second_is_caught_up_in_bounded_steps(
        self, leader: Leader, store: ScheduleStore
    ) -> None:
        await store.create(Plan("second", SECONDLY, "calculate", misfire_grace_s=5))
        await due(leader, "second", ago_s=45_000)
        duty, runs = CronFires(store, leader.sender), 1
        while not (await duty.run(leader.epoch)).done:
            runs += 1
        after = await store.get("second")
        assert runs == 3
        assert len(await fires(leader, "second")) == after.fired in (5, 6, 7)
        assert after.missed == pytest.approx(44_995, abs=4)

    async def test_skip_makes_no_job_while_one_is_not_over(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("second", NEVER_SOON, "calculate", overlap="skip"))
        duty = CronFires(store, leader.sender)
        for ago_s, made in ((30, 1), (20, 0)):
            await due(leader, "second", ago_s=ago_s)
            assert (await duty.run(leader.epoch)).done == made
        (row,) = await leader.database.fetch("SELECT id FROM jobs")
        await leader.run_on("w1", row["id"])
        await leader.report("w1", row["id"], ReportStatus.COMPLETED)
        await due(leader, "second", ago_s=10)
        assert (await duty.run(leader.epoch)).done == 1
        after = await store.get("second")
        assert (after.fired, after.overlapped, after.missed) == (2, 1, 0)

    async def test_skip_counts_within_one_run_too(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("second", SECONDLY, "calculate", overlap="skip"))
        await due(leader, "second", ago_s=5)
        assert (await CronFires(store, leader.sender).run(leader.epoch)).done == 1
        assert (await store.get("second")).overlapped >= 5

    async def test_two_leaders_at_once_fire_once(self, leader: Leader, store: ScheduleStore) -> None:
        for number in range(5):
            await store.create(Plan(f"s{number}", SECONDLY, "calculate"))
            await due(leader, f"s{number}", ago_s=20)
        batches = await asyncio.gather(*(store.fire(limit=50, epoch=1) for _ in range(3)))
        made = [each.job_id for batch in batches for each in batch.dispatches]
        assert len(made) == len(set(made)) == len(await leader.database.fetch("SELECT 1 FROM jobs"))

    async def test_passes_over_what_an_operator_is_changing(self, leader: Leader, store: ScheduleStore) -> None:
        for name in ("locked", "free"):
            await store.create(Plan(name, NEVER_SOON, "calculate"))
            await due(leader, name, ago_s=1)
        duty = CronFires(store, leader.sender)
        async with leader.database.transaction() as other:
            await other.execute("SELECT 1 FROM schedules WHERE name = 'locked' FOR UPDATE")
            outcomes = [await duty.run(leader.epoch) for _ in range(2)]
            assert [(each.done, each.more) for each in outcomes] == [(1, True), (0, False)]
        assert (await duty.run(leader.epoch)).done == 1

    async def test_the_schema_allows_no_second_job_of_a_fire(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("first", NEVER_SOON, "calculate"))
        at = await due(leader, "first", ago_s=1)
        await store.fire(limit=1, epoch=1)
        await leader.database.fetch("UPDATE schedules SET next_fire = $1", at)
        assert (await store.fire(limit=1, epoch=1)).dispatches == []
        assert (await store.get("first")).fired == 1
        job_id = await leader.submit()
        with pytest.raises(asyncpg.UniqueViolationError):
            await leader.database.fetch(
                "UPDATE jobs SET schedule_name = 'first', schedule_fire_at = $2 WHERE id = $1", job_id, at
            )

    async def test_a_stale_leader_fires_nothing(self, leader: Leader, store: ScheduleStore) -> None:
        await store.create(Plan("second", SECONDLY, "calculate"))
        at = await due(leader, "second", ago_s=1)
        await leader.leadership.claim(2, node="node2", boot="boot2")
        with pytest.raises(Fenced):
            await CronFires(store, leader.sender).run(leader.epoch)
        assert (await fires(leader, "second"), (await store.get("second")).next_fire) == ([], at)
        assert await leader.sent() == 0

    async def test_a_schedule_that_cannot_fire_holds_up_no_other(self, leader: Leader, store: ScheduleStore) -> None:
        for name in ("bad", "good"):
            await store.create(Plan(name, NEVER_SOON, "calculate"))
        await due(leader, "bad", ago_s=5)
        await due(leader, "good", ago_s=1)
        await leader.database.fetch("UPDATE schedules SET timezone = 'Atlantis/Capital' WHERE name = 'bad'")
        duty = CronFires(store, leader.sender)
        assert (await duty.run(leader.epoch)).done == 1
        bad = await store.get("bad")
        assert (bad.next_fire, bad.error) == (
            None,
            "timezone: 'Atlantis/Capital' is not a time zone of the IANA database",
        )
        mended = await store.update("bad", timezone="UTC")
        assert mended.error is None
        assert mended.next_fire is not None

    async def test_this_machines_clock_does_not_matter(
        self, leader: Leader, store: ScheduleStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real_s, real_ns = time.time, time.time_ns
        made = []
        for hour in (-1, 1):
            monkeypatch.setattr(time, "time", lambda: real_s() + hour * 3600)  # noqa: B023
            monkeypatch.setattr(time, "time_ns", lambda: real_ns() + hour * 3600 * 10**9)  # noqa: B023
            await store.create(Plan(f"h{hour}", SECONDLY, "calculate"))
            await due(leader, f"h{hour}", ago_s=2)
            await CronFires(store, leader.sender).run(leader.epoch)
            made += await fires(leader, f"h{hour}")
        now = await leader.now()
        assert len(made) >= 6
        assert all(now - timedelta(seconds=10) < at <= now for at in made)
