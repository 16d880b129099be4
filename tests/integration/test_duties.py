"""What each duty does to jobs, on a real database and the Postgres broker."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from distriqueue.core.errors import BrokerUnavailable, Fenced
from distriqueue.core.job import MAX_LOSSES, Priority
from distriqueue.core.messages import Answer, ReportStatus
from distriqueue.store.submissions import SubmissionStore
from orchestrator.duties.dispatcher import Dispatcher
from orchestrator.duties.pruner import Pruner
from orchestrator.duties.scheduler import Scheduler
from tests.integration.leader import Leader, leading


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


class TestDispatcher:
    async def test_sends_what_no_gateway_sent(self, leader: Leader) -> None:
        old, young = await leader.submit(), await leader.submit()
        await leader.change(old, "ready_at = now() - interval '1.1 s'")
        outcome = await Dispatcher(leader.duties, leader.sender).run(leader.epoch)
        assert outcome.done == 1
        assert await leader.statuses(old, young) == ["queued", "pending"]
        assert await leader.sent() == 1

    async def test_most_urgent_lane_first_in_bounded_batches(self, leader: Leader) -> None:
        lows = [await leader.submit(Priority.LOW) for _ in range(5)]
        critical = await leader.submit(Priority.CRITICAL)
        for age, job_id in enumerate([critical, *reversed(lows)]):
            await leader.change(job_id, f"ready_at = now() - interval '{10 + age} s'")
        dispatcher = Dispatcher(leader.duties, leader.sender, batch=2)
        outcome = await dispatcher.run(leader.epoch)
        assert (outcome.done, outcome.more) == (2, True)
        assert await leader.statuses(critical, *lows) == ["queued", "queued", *["pending"] * 4]
        assert [(await dispatcher.run(leader.epoch)).done for _ in range(3)] == [2, 2, 0]
        assert await leader.sent() == 6

    async def test_jobs_of_one_moment_are_all_sent(self, leader: Leader) -> None:
        jobs = [await leader.submit() for _ in range(5)]
        moment = "2026-01-01T00:00:00Z"
        for job_id in jobs:
            await leader.change(job_id, f"ready_at = '{moment}'")
        dispatcher = Dispatcher(leader.duties, leader.sender, batch=2)
        assert [(await dispatcher.run(leader.epoch)).done for _ in range(3)] == [2, 2, 1]
        assert await leader.statuses(*jobs) == ["queued"] * 5

    async def test_backs_off_while_the_broker_is_away(self, database_url: str) -> None:
        async with leading(database_url, broker_url="amqp://guest:guest@127.0.0.1:1/") as leader:
            job_id = await leader.submit()
            await leader.change(job_id, "ready_at = now() - interval '10 s'")
            with pytest.raises(BrokerUnavailable):
                await Dispatcher(leader.duties, leader.sender).run(leader.epoch)
            assert await leader.statuses(job_id) == ["pending"]

    async def test_heals_a_leader_that_died_between_commit_and_publish(self, leader: Leader) -> None:
        job_id = await leader.submit(due_in_s=-1)
        assert (await leader.duties.promote(limit=10, epoch=leader.epoch)).jobs == 1  # and here it dies
        assert await leader.sent() == 0
        await leader.change(job_id, "ready_at = ready_at - interval '2 s'")
        assert (await Dispatcher(leader.duties, leader.sender).run(leader.epoch)).done == 1
        assert await leader.statuses(job_id) == ["queued"]
        assert await leader.sent() == 1

    async def test_a_stale_leader_marks_nothing(self, leader: Leader) -> None:
        job_id = await leader.submit()
        await leader.change(job_id, "ready_at = now() - interval '2 s'")
        await leader.leadership.claim(2, node="node2", boot="boot2")
        with pytest.raises(Fenced):
            await Dispatcher(leader.duties, leader.sender).run(leader.epoch)
        assert await leader.statuses(job_id) == ["pending"]


class TestScheduler:
    async def test_wakes_and_sends_what_is_due(self, leader: Leader) -> None:
        due, later = await leader.submit(due_in_s=-0.001), await leader.submit(due_in_s=60)
        outcome = await Scheduler(leader.duties, leader.sender).run(leader.epoch)
        assert outcome.done == 1
        assert await leader.statuses(due, later) == ["queued", "scheduled"]
        assert (await leader.row(due))["attempt"] == 1
        assert await leader.sent() == 1

    async def test_a_retry_is_the_next_attempt(self, leader: Leader) -> None:
        job_id = await leader.submit()
        await leader.run_on("w1", job_id)
        await leader.report("w1", job_id, ReportStatus.FAILED)
        scheduler = Scheduler(leader.duties, leader.sender)
        outcome = await scheduler.run(leader.epoch)
        assert outcome.done == 0
        assert outcome.next_in_s is not None
        assert 0.5 < outcome.next_in_s <= 2
        await leader.change(job_id, "due_at = now()")
        assert (await scheduler.run(leader.epoch)).done == 1
        row = await leader.row(job_id)
        assert (row["status"], row["attempt"], row["failures"]) == ("queued", 2, 1)
        assert [row[name] for name in ("worker_id", "started_at", "progress")] == [None] * 3
        await leader.run_on("w2", job_id, attempt=2)

    async def test_longest_due_first_in_bounded_batches(self, leader: Leader) -> None:
        jobs = [await leader.submit(due_in_s=-10 + age) for age in (3, 2, 1)]
        scheduler = Scheduler(leader.duties, leader.sender, batch=2)
        outcome = await scheduler.run(leader.epoch)
        assert (outcome.done, outcome.more) == (2, True)
        assert await leader.statuses(*jobs) == ["scheduled", "queued", "queued"]

    async def test_passes_over_what_others_have_locked(self, leader: Leader) -> None:
        locked, free = await leader.submit(due_in_s=-2), await leader.submit(due_in_s=-1)
        async with leader.database.transaction() as other:
            await other.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", locked)
            scheduler = Scheduler(leader.duties, leader.sender)
            assert (await scheduler.run(leader.epoch)).done == 1
            outcome = await scheduler.run(leader.epoch)
            assert (outcome.done, outcome.more, outcome.next_in_s) == (0, False, None)
        assert await leader.statuses(locked, free) == ["scheduled", "queued"]

    async def test_two_at_once_wake_each_job_once(self, leader: Leader) -> None:
        jobs = [await leader.submit(due_in_s=-1) for _ in range(20)]
        for job_id in jobs:
            await leader.change(job_id, "status = 'cancelled', finished_at = now()")
            await leader.jobs.retry(job_id)
            await leader.run_on("w1", job_id, attempt=2)
            await leader.report("w1", job_id, ReportStatus.FAILED, attempt=2)
            await leader.change(job_id, "due_at = now() - interval '1 s'")
        batches = await asyncio.gather(*(leader.duties.promote(limit=15, epoch=1) for _ in range(2)))
        assert sorted(each.job_id for batch in batches for each in batch.ready) == sorted(jobs)
        assert {(await leader.row(job_id))["attempt"] for job_id in jobs} == {3}

    async def test_a_stale_leader_wakes_nothing(self, leader: Leader) -> None:
        job_id = await leader.submit(due_in_s=-1)
        await leader.leadership.claim(2, node="node2", boot="boot2")
        with pytest.raises(Fenced):
            await Scheduler(leader.duties, leader.sender).run(leader.epoch)
        assert await leader.statuses(job_id) == ["scheduled"]
        assert await leader.sent() == 0


class TestReaper:
    async def test_jobs_of_a_silent_worker_run_elsewhere(self, leader: Leader) -> None:
        lost, kept = await leader.submit(), await leader.submit()
        await leader.run_on("dead", lost, ago_s=6)
        await leader.run_on("alive", kept)
        await leader.beat("dead", ago_s=5.1)
        await leader.beat("alive", ago_s=4.9)
        await leader.recorded()
        outcome = await leader.reaper().run(leader.epoch)
        assert (outcome.done, outcome.more) == (2, False)
        assert await leader.worker_state("dead") == "UNRESPONSIVE"
        assert await leader.worker_state("alive") == "IDLE"
        assert await leader.statuses(lost, kept) == ["retrying", "running"]
        row, (attempt,) = await leader.row(lost), await leader.attempts(lost)
        assert (row["losses"], row["failures"]) == (1, 0)
        assert (attempt["attempt"], attempt["outcome"], attempt["worker_id"]) == (1, "lost", "dead")
        assert "its worker dead has not been heard for more than 5 s" in row["error"]
        assert (await Scheduler(leader.duties, leader.sender).run(leader.epoch)).done == 1
        await leader.run_on("alive", lost, attempt=2)
        late = await leader.report("dead", lost, ReportStatus.COMPLETED)
        assert late.answers[0].answer is Answer.STALE

    async def test_waits_for_a_window_after_a_gap_and_after_the_claim(self, leader: Leader) -> None:
        job_id = await leader.submit()
        await leader.run_on("w1", job_id, ago_s=61)
        await leader.beat("w1", ago_s=60)
        assert (await leader.reaper().run(leader.epoch)).note == "no heartbeats were recorded yet"
        await leader.recorded(unbroken_s=4.9)
        outcome = await leader.reaper().run(leader.epoch)
        assert outcome.next_in_s == pytest.approx(0.1)
        await leader.recorded()
        await leader.database.fetch("UPDATE leadership SET claimed_at = now() - interval '4.5 s'")
        assert (await leader.reaper().run(leader.epoch)).done == 0
        assert await leader.statuses(job_id) == ["running"]
        await leader.recorded()
        assert (await leader.reaper().run(leader.epoch)).done == 2

    async def test_silence_since_the_last_recording_is_no_evidence(self, leader: Leader) -> None:
        job_id = await leader.submit(execution_timeout_s=1)
        await leader.run_on("w1", job_id, ago_s=60)
        await leader.beat("w1", ago_s=60)
        await leader.recorded(ago_s=58)  # this process was suspended, or Postgres away, ever since
        assert (await leader.reaper().run(leader.epoch)).done == 0
        assert await leader.statuses(job_id) == ["running"]

    async def test_jobs_of_stopped_and_never_heard_workers(self, leader: Leader) -> None:
        stopped, unheard, fresh = [await leader.submit() for _ in range(3)]
        await leader.run_on("stopped", stopped)
        await leader.run_on("unheard", unheard, ago_s=10.1)
        await leader.run_on("fresh", fresh, ago_s=9.5)
        await leader.beat("stopped", stopped=True)
        await leader.recorded()
        assert (await leader.reaper().run(leader.epoch)).done == 2
        assert await leader.statuses(stopped, unheard, fresh) == ["retrying", "retrying", "running"]
        assert "its worker stopped stopped" in (await leader.row(stopped))["error"]
        assert "its worker unheard was never heard" in (await leader.row(unheard))["error"]

    async def test_a_claim_is_a_sign_of_life(self, leader: Leader) -> None:
        job_id = await leader.submit()
        await leader.run_on("mute", job_id, ago_s=4.5)  # it reaches the gateway, and no orchestrator
        await leader.beat("mute", ago_s=60)
        await leader.recorded()
        assert (await leader.reaper().run(leader.epoch)).done == 1
        assert await leader.worker_state("mute") == "UNRESPONSIVE"
        assert await leader.statuses(job_id) == ["running"]
        await leader.change(job_id, "started_at = now() - interval '5.5 s'")
        await leader.recorded()
        assert (await leader.reaper().run(leader.epoch)).done == 1
        assert await leader.statuses(job_id) == ["retrying"]

    async def test_the_last_loss_fails_the_job(self, leader: Leader) -> None:
        job_id = await leader.submit()
        for attempt in range(1, MAX_LOSSES + 1):
            await leader.run_on("dead", job_id, attempt=attempt, ago_s=6)
            await leader.beat("dead", ago_s=6)
            await leader.recorded()
            assert await leader.reaper().run(leader.epoch)
            await Scheduler(leader.duties, leader.sender).run(leader.epoch)
        row = await leader.row(job_id)
        assert (row["status"], row["losses"], row["attempt"]) == ("failed", 3, 3)
        assert row["finished_at"] is not None
        assert "3 attempts were lost, and no more are made" in row["error"]
        assert [each["outcome"] for each in await leader.attempts(job_id)] == ["lost", "lost"]

    async def test_a_cancel_that_no_worker_can_honour_is_honoured(self, leader: Leader) -> None:
        job_id = await leader.submit()
        await leader.run_on("dead", job_id, ago_s=6)
        await leader.jobs.cancel(job_id)
        await leader.beat("dead", ago_s=6)
        await leader.recorded()
        await leader.reaper().run(leader.epoch)
        row = await leader.row(job_id)
        assert (row["status"], row["finished_at"] is None) == ("cancelled", False)

    @pytest.mark.parametrize(("max_retries", "status"), [(3, "retrying"), (0, "timeout")])
    async def test_running_past_timeout_and_grace(self, leader: Leader, max_retries: int, status: str) -> None:
        late = await leader.submit(max_retries=max_retries, execution_timeout_s=2)
        within = await leader.submit(max_retries=max_retries, execution_timeout_s=2)
        for job_id, ran_s in ((late, 12.1), (within, 11.5)):
            await leader.run_on("w1", job_id, ago_s=ran_s)
        await leader.beat("w1")
        await leader.recorded()
        assert (await leader.reaper().run(leader.epoch)).done == 1
        row = await leader.row(late)
        assert (row["status"], row["failures"], row["losses"]) == (status, 1, 0)
        assert (row["finished_at"] is None) == (status == "retrying")
        assert "ran longer than 2 s" in row["error"]
        assert [each["outcome"] for each in await leader.attempts(late)] == ["timeout"] * (status == "retrying")
        if status == "retrying":
            assert 0.5 <= (row["due_at"] - await leader.now()).total_seconds() <= 2
        assert await leader.statuses(within) == ["running"]

    async def test_works_in_bounded_batches(self, leader: Leader) -> None:
        for _ in range(5):
            await leader.run_on("dead", await leader.submit(), ago_s=6)
        await leader.beat("dead", ago_s=6)
        await leader.recorded()
        outcomes = [await leader.reaper(batch=2).run(leader.epoch) for _ in range(4)]
        assert [(each.done, each.more) for each in outcomes] == [(3, True), (2, True), (1, False), (0, False)]

    async def test_a_stale_leader_reaps_nothing(self, leader: Leader) -> None:
        job_id = await leader.submit()
        await leader.run_on("w1", job_id, ago_s=6)
        await leader.beat("w1", ago_s=6)
        await leader.leadership.claim(2, node="node2", boot="boot2")
        await leader.recorded()
        with pytest.raises(Fenced):
            await leader.reaper().run(leader.epoch)
        assert await leader.statuses(job_id) == ["running"]
        assert await leader.worker_state("w1") == "IDLE"
        assert await leader.attempts(job_id) == []


class TestPruner:
    async def test_idempotency_keys_are_forgotten_after_a_day(self, leader: Leader) -> None:
        await leader.database.fetch(
            "INSERT INTO idempotency_keys (scope, key, fingerprint, answer, created_at)"
            " SELECT '', n::text, '', '{}', now() - n * interval '10 h' FROM generate_series(0, 4) AS n"
        )
        pruner = Pruner(leader.workers, SubmissionStore(leader.database), batch=1)
        assert [(await pruner.run(leader.epoch)).done for _ in range(3)] == [1, 1, 0]
        assert len(await leader.database.fetch("SELECT 1 FROM idempotency_keys")) == 3

    async def test_forgets_what_ended_a_day_ago(self, leader: Leader) -> None:
        day_s = 24 * 3600
        for worker_id, ago_s in (("old1", day_s + 1), ("old2", day_s + 1), ("young", day_s - 60)):
            await leader.beat(worker_id, stopped=True, ago_s=ago_s)
        await leader.beat("idle", ago_s=2 * day_s)
        pruner = Pruner(leader.workers, SubmissionStore(leader.database), batch=1)
        assert [(await pruner.run(leader.epoch)).done for _ in range(3)] == [1, 1, 0]
        assert [row["id"] for row in await leader.workers.page(after="", limit=10)] == ["idle", "young"]


class TestFence:
    async def test_a_claim_ends_the_work_of_an_older_leader(self, leader: Leader) -> None:
        job_id = await leader.submit()

        async def work() -> None:
            async with leader.database.transaction(epoch=1) as connection:
                await connection.execute("UPDATE jobs SET attempt = 7 WHERE id = $1", job_id)
                assert (await leader.leadership.claim(2, node="node2", boot="boot2")).won

        with pytest.raises(Fenced):
            await work()
        assert (await leader.row(job_id))["attempt"] == 1

    async def test_an_epoch_has_one_owner_and_a_history(self, leader: Leader) -> None:
        again = await leader.leadership.claim(1, node="node1", boot="boot1")
        assert again.won
        other = await leader.leadership.claim(1, node="node2", boot="boot2")
        assert (other.won, other.epoch) == (False, 1)
        assert (await leader.leadership.claim(5, node="node2", boot="boot2")).won
        history = await leader.database.fetch("SELECT epoch, node, boot FROM leadership_history ORDER BY epoch")
        assert [tuple(row) for row in history] == [(1, "node1", "boot1"), (5, "node2", "boot2")]

    async def test_a_frozen_leader_hides_no_work(self, leader: Leader) -> None:
        job_id = await leader.submit(due_in_s=-1)
        frozen = await asyncpg.connect(leader.url, server_settings={"application_name": "distriqueue-duties:boot0"})
        try:
            await frozen.execute("BEGIN")
            await frozen.execute("SELECT 1 FROM jobs FOR UPDATE")
            assert (await leader.duties.promote(limit=1, epoch=1)).jobs == 0
            assert await leader.leadership.end_others(boot="boot1") == 1
            assert (await leader.duties.promote(limit=1, epoch=1)).jobs == 1
            assert await leader.statuses(job_id) == ["pending"]
        finally:
            frozen.terminate()
