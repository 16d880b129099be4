"""Claims and ends: what counts, what is refused, and what a repeated report is told."""

import asyncio

import pytest

from distriqueue.core.messages import Answer, Report, ReportStatus
from tests.integration.conftest import Stores, new_job

ACCEPTED = (Answer.ACCEPTED, None)


async def test_the_way_of_a_job(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    await stores.jobs.mark_queued([job.dispatch()])
    assert await stores.report(job, "running") == ACCEPTED
    assert await stores.report(job, "running", progress=40) == ACCEPTED
    assert (await stores.get(job)).progress == 40
    assert await stores.report(job, "completed", result={"sum": 15}) == ACCEPTED
    stored = await stores.get(job)
    assert (stored.status, stored.result, stored.worker_id) == ("completed", '{"sum":15}', "w1")
    assert await stores.timeline(job) == ["pending", "queued", "running", "running", "completed"]


async def test_a_claim_may_overtake_the_confirm_and_is_not_undone_by_it(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    assert await stores.report(job, "running") == ACCEPTED
    assert await stores.jobs.mark_queued([job.dispatch()]) == 0
    assert (await stores.get(job)).status == "running"


async def test_of_two_workers_one_may_run(stores: Stores) -> None:
    jobs = [new_job() for _ in range(50)]
    await stores.add(*jobs)

    async def claim_all(worker: str) -> list[Answer]:
        applied = await stores.reports.apply(
            [
                Report(job_id=job.id, attempt=1, status=ReportStatus.RUNNING, worker_id=worker)
                for job in (jobs if worker == "w1" else reversed(jobs))
            ]
        )
        answers = [answer.answer for answer in applied.answers]
        return answers if worker == "w1" else answers[::-1]

    first, second = await asyncio.gather(claim_all("w1"), claim_all("w2"))
    for one, other, job in zip(first, second, jobs, strict=True):
        assert {one, other} == {Answer.ACCEPTED, Answer.REFUSED}
        assert (await stores.get(job)).worker_id == ("w1" if one is Answer.ACCEPTED else "w2")


async def test_two_claims_of_one_job_in_one_batch_have_one_winner(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    applied = await stores.reports.apply(
        [Report(job_id=job.id, attempt=1, status=ReportStatus.RUNNING, worker_id=worker) for worker in ("w1", "w2")]
    )
    assert sorted(answer.answer for answer in applied.answers) == [Answer.ACCEPTED, Answer.REFUSED]


async def test_a_claim_whose_answer_was_lost_is_accepted_again(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    assert await stores.report(job, "running") == ACCEPTED
    assert await stores.report(job, "running") == ACCEPTED
    assert (await stores.timeline(job)).count("running") == 1


async def test_why_a_claim_is_refused(stores: Stores) -> None:
    taken, done, gone, stale, later, unknown = (new_job() for _ in range(6))
    await stores.add(taken, done, gone, stale)
    await stores.report(taken, "running", worker="other")
    await stores.report(done, "running")
    await stores.report(done, "completed")
    await stores.jobs.cancel(gone.id)
    await stores.add(later)
    await stores.report(later, "running")
    await stores.report(later, "failed")
    assert await stores.report(taken, "running") == (Answer.REFUSED, "running_elsewhere")
    assert await stores.report(done, "running") == (Answer.REFUSED, "finished")
    assert await stores.report(gone, "running") == (Answer.REFUSED, "cancelled")
    assert await stores.report(stale, "running", attempt=2) == (Answer.REFUSED, "stale_attempt")
    assert await stores.report(later, "running", worker="other") == (Answer.REFUSED, "not_ready")
    assert await stores.report(unknown, "running") == (Answer.REFUSED, "unknown_job")


@pytest.mark.parametrize("end", ["completed", "failed", "timeout", "cancelled", "released"])
async def test_an_end_reported_twice_is_answered_as_the_first_time(stores: Stores, end: str) -> None:
    job = new_job(max_retries=3)
    await stores.add(job)
    await stores.report(job, "running")
    assert await stores.report(job, end) == ACCEPTED
    before = await stores.get(job)
    assert await stores.report(job, end) == ACCEPTED
    assert await stores.get(job) == before


async def test_a_report_after_another_end_is_stale_and_changes_nothing(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "completed", result=1)
    for end in ("failed", "timeout", "released", "cancelled"):
        assert await stores.report(job, end) == (Answer.STALE, "not_this_workers_attempt")
    assert await stores.report(job, "completed", result=2, worker="other") == (Answer.STALE, "not_this_workers_attempt")
    assert (await stores.get(job)).result == "1"


async def test_a_failed_attempt_is_retried_until_none_is_left(stores: Stores) -> None:
    job = new_job(max_retries=1)
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "failed", error_message="boom", error_type="ValueError")
    waiting = await stores.get(job)
    assert (waiting.status, waiting.failures, waiting.finished_at) == ("retrying", 1, None)
    await stores.database.fetch(
        "UPDATE jobs SET status = 'pending', attempt = attempt + 1, started_at = NULL, worker_id = NULL WHERE id = $1",
        job.id,
    )
    await stores.report(job, "running", attempt=2)
    await stores.report(job, "failed", attempt=2, error_message="boom again")
    ended = await stores.get(job)
    assert (ended.status, ended.failures, ended.error) == ("failed", 2, '{"message":"boom again"}')
    attempts = await stores.reader.attempts(job.id)
    assert [(a.attempt, a.outcome, a.worker_id) for a in attempts] == [(1, "failed", "w1"), (2, "failed", "w1")]
    assert attempts[0].error == '{"message":"boom","type":"ValueError"}'


async def test_a_discarded_attempt_is_the_last(stores: Stores) -> None:
    job = new_job(max_retries=5)
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "failed", retryable=False)
    assert (await stores.get(job)).status == "failed"


async def test_the_handlers_own_delay_counts(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "failed", retry_after=100.0)
    rows = await stores.database.fetch(
        "SELECT extract(epoch FROM due_at - now())::float8 FROM jobs WHERE id = $1", job.id
    )
    assert 98 < rows[0][0] <= 100


async def test_a_released_attempt_is_not_charged_and_its_late_result_is_refused(stores: Stores) -> None:
    job = new_job(max_retries=0)
    await stores.add(job)
    await stores.report(job, "running")
    report = Report(job_id=job.id, attempt=1, status=ReportStatus.RELEASED, worker_id="w1")
    applied = await stores.reports.apply([report])
    assert [(dispatch.job_id, dispatch.attempt) for dispatch in applied.ready] == [(job.id, 2)]
    stored = await stores.get(job)
    assert (stored.status, stored.attempt, stored.failures) == ("pending", 2, 0)
    assert await stores.report(job, "completed") == (Answer.STALE, "not_this_workers_attempt")


async def test_a_running_job_is_cancelled_by_its_worker(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    await stores.report(job, "running")
    assert (await stores.jobs.cancel(job.id)).statuses == {job.id: "running"}
    assert (await stores.get(job)).cancel_requested
    assert await stores.report(job, "cancelled") == ACCEPTED
    assert (await stores.get(job)).status == "cancelled"


async def test_a_job_that_fails_while_it_is_to_be_cancelled_is_not_retried(stores: Stores) -> None:
    job = new_job(max_retries=5)
    await stores.add(job)
    await stores.report(job, "running")
    await stores.jobs.cancel(job.id)
    await stores.report(job, "failed")
    assert (await stores.get(job)).status == "failed"


async def test_a_claim_and_its_end_may_come_in_one_batch(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    applied = await stores.reports.apply(
        [
            Report(job_id=job.id, attempt=1, status=status, worker_id="w1")
            for status in (ReportStatus.RUNNING, ReportStatus.COMPLETED)
        ]
    )
    assert [answer.answer for answer in applied.answers] == [Answer.ACCEPTED, Answer.ACCEPTED]
    assert await stores.timeline(job) == ["pending", "running", "completed"]


async def test_opposite_orders_do_not_deadlock(stores: Stores) -> None:
    jobs = [new_job() for _ in range(300)]
    await stores.add(*jobs)
    claims = [Report(job_id=job.id, attempt=1, status=ReportStatus.RUNNING, worker_id="w1") for job in jobs]
    async with asyncio.timeout(20):
        await asyncio.gather(
            *(stores.reports.apply(claims if i % 2 else claims[::-1]) for i in range(6)),
            *(stores.jobs.mark_queued([job.dispatch() for job in (jobs if i % 2 else jobs[::-1])]) for i in range(6)),
        )
    assert {(await stores.get(job)).status for job in jobs[:20]} == {"running"}


async def test_text_that_postgres_cannot_read_back_is_kept_readable(stores: Stores) -> None:
    job = new_job(max_retries=0)
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "failed", error_message="bo\0om")
    rows = await stores.database.fetch("SELECT error->>'message' FROM jobs WHERE id = $1", job.id)
    assert rows[0][0] == "bo\ufffdom"
