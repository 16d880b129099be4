"""Jobs coming in, being cancelled, retried and read."""

from datetime import UTC, datetime, timedelta

import pytest

from distriqueue.core.errors import Conflict, NotFound
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.states import Status
from distriqueue.store import reads
from distriqueue.store.reads import JobFilter, Position
from distriqueue.store.submissions import Submission
from tests.integration.conftest import Stores, new_job


async def test_storing_a_batch_again_after_a_lost_answer_changes_nothing(stores: Stores) -> None:
    jobs = [new_job(), new_job()]
    first = await stores.jobs.insert(jobs)
    assert await stores.jobs.insert(jobs) == first
    assert await stores.timeline(jobs[0]) == ["pending"]


async def test_a_taken_id_refuses_its_whole_submission(stores: Stores) -> None:
    taken, other = new_job(), new_job()
    await stores.add(taken)
    [answer] = (await stores.submissions.accept([Submission((other, taken), own_ids=True)])).answers
    assert isinstance(answer, Conflict)
    assert str(taken.id) in answer.message
    with pytest.raises(NotFound):
        await stores.get(other)


async def test_a_job_for_later_is_scheduled_and_one_for_the_past_is_not(stores: Stores) -> None:
    later, past = new_job(due_at=datetime.now(UTC) + timedelta(hours=1)), new_job(due_at=datetime.now(UTC))
    stored = await stores.jobs.insert([later, past])
    assert stored[later.id].status is Status.SCHEDULED
    assert stored[past.id].status is Status.PENDING


async def test_tags_survive_whatever_they_hold(stores: Stores) -> None:
    tags = ("a,b", '"quoted"', "back\\slash", "{brace}", "NULL", "ünï")
    job = new_job(tags=tags)
    await stores.add(job)
    assert tuple((await stores.get(job)).tags) == tags


async def test_a_waiting_job_is_cancelled_at_once_and_only_once(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    assert (await stores.jobs.cancel(job.id)).statuses == {job.id: Status.CANCELLED}
    with pytest.raises(Conflict, match="cancelled"):
        await stores.jobs.cancel(job.id)
    with pytest.raises(NotFound):
        await stores.jobs.cancel(new_job_id())


async def test_a_clients_retry_goes_on_in_place_with_its_history(stores: Stores) -> None:
    job = new_job(max_retries=0, payload={"n": 1})
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "failed", error_message="boom")
    [dispatch] = (await stores.jobs.retry(job.id)).ready
    assert (dispatch.job_id, dispatch.attempt, dispatch.payload) == (job.id, 2, {"n": 1})
    await stores.report(job, "running", attempt=2, worker="w2")
    await stores.report(job, "completed", attempt=2, worker="w2", result=True)
    assert await stores.timeline(job) == ["pending", "running", "failed", "pending", "running", "completed"]
    assert [(a.attempt, a.outcome) for a in await stores.reader.attempts(job.id)] == [(1, "failed"), (2, "completed")]
    with pytest.raises(Conflict, match="completed"):
        await stores.jobs.retry(job.id)


async def test_pages_by_offset_and_by_cursor_show_each_job_once(stores: Stores) -> None:
    for _ in range(5):
        await stores.add(*(new_job() for _ in range(5)))  # five at one instant: the id breaks the tie
    everything = JobFilter()
    by_offset = [
        job.id for page in range(5) for job in (await stores.reader.page(everything, size=5, offset=page * 5))[0]
    ]
    by_cursor = []
    after: Position | None = None
    while True:
        jobs, after = await stores.reader.page(everything, size=7, after=after)
        by_cursor += [job.id for job in jobs]
        if after is None:
            break
    assert by_offset == by_cursor
    assert len(set(by_cursor)) == 25


async def test_every_filter_narrows(stores: Stores) -> None:
    batch = new_job_id()
    wanted = new_job(type="resize", priority=Priority.LOW, tags=("blue", "round"), batch_id=batch)
    await stores.add(wanted, *(new_job() for _ in range(3)))
    await stores.report(wanted, "running", worker="w9")
    stored = await stores.get(wanted)
    for where in (
        JobFilter(statuses=(Status.RUNNING,)),
        JobFilter(statuses=(Status.RUNNING, Status.FAILED)),
        JobFilter(priorities=(Priority.LOW,)),
        JobFilter(types=("resize", "other")),
        JobFilter(tags=("blue",)),
        JobFilter(tags=("round", "blue")),
        JobFilter(worker="w9"),
        JobFilter(batch=batch),
        JobFilter(text="RESI"),
        JobFilter(text=str(wanted.id)),
        JobFilter(
            types=("resize",), created_from=stored.created_at, created_to=stored.created_at + timedelta(seconds=1)
        ),
    ):
        jobs, following = await stores.reader.page(where, size=10)
        assert [job.id for job in jobs] == [wanted.id], where
        assert following is None
        assert (await stores.reader.count(where)).jobs == 1
    for where in (JobFilter(tags=("blue", "square")), JobFilter(text="%"), JobFilter(created_to=stored.created_at)):
        assert (await stores.reader.page(where, size=10))[0] == [], where


async def test_a_search_goes_on_page_by_page_over_all_jobs(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "LOOKED_AT", 10)
    monkeypatch.setattr(reads, "SAMPLE", 10)
    every_third = [new_job(type="wanted" if n % 3 == 0 else "other") for n in range(45)]
    for job in every_third:
        await stores.add(job)
    wanted = [job.id for job in every_third if job.type == "wanted"][::-1]
    where = JobFilter(text="WANT", priorities=(Priority.MEDIUM,))
    seen, pages = [], 0
    after: Position | None = None
    while True:
        jobs, after = await stores.reader.page(where, size=2, after=after)
        seen += [job.id for job in jobs]
        pages += 1
        if after is None:
            break
    assert seen == wanted
    assert pages > 5
    counted = await stores.reader.count(where)
    assert not counted.exact
    assert counted.jobs >= 3
    assert [position.id for position in await stores.reader.positions(where, size=100)] == wanted


async def test_a_page_leaves_out_what_is_large(stores: Stores) -> None:
    large, small = new_job(payload={"x": list(range(5000))}), new_job(payload={"x": 1})
    await stores.add(large)
    await stores.add(small)
    jobs, _ = await stores.reader.page(JobFilter(), size=10)
    assert [(job.payload, job.omitted) for job in jobs] == [('{"x":1}', []), (None, ["payload"])]
    whole = await stores.get(large)
    assert (whole.payload, whole.omitted) == (large.payload_json, ())


async def test_a_count_is_exact_while_small_and_says_when_it_is_not(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stores.add(*(new_job() for _ in range(30)))
    assert (await stores.reader.count(JobFilter())).exact
    monkeypatch.setattr("distriqueue.store.reads.EXACT_COUNT", 10)
    counted = await stores.reader.count(JobFilter())
    assert not counted.exact
    assert counted.jobs > 10


async def test_a_job_cancelled_while_it_waits_for_its_retry_can_be_retried_by_its_client(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "failed", error_message="boom")
    await stores.jobs.cancel(job.id)
    await stores.jobs.retry(job.id)
    assert [(each.attempt, each.outcome) for each in await stores.reader.attempts(job.id)] == [(1, "failed")]
    assert await stores.timeline(job) == ["pending", "running", "retrying", "cancelled", "pending"]
