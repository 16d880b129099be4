"""Jobs that wait for others: parents, slots, batches, and what follows from their ends."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from distriqueue.core.errors import Conflict, InvalidRequest
from distriqueue.core.messages import Answer, Report
from distriqueue.store.jobs import Extras, NewBatch, NewJob, Stored
from distriqueue.store.submissions import Accepted, Submission
from tests.integration.conftest import Stores, new_job


def child(*parents: NewJob, **extras: Any) -> NewJob:
    return new_job(extras=Extras(parents=tuple(parent.id for parent in parents), **extras))


def keyed(limit: int = 1, key: str = "k", **fields: Any) -> NewJob:
    return new_job(extras=Extras(concurrency_key=key, concurrency_limit=limit), **fields)


async def accept(stores: Stores, *jobs: NewJob, batch: NewBatch | None = None) -> list[Stored]:
    [answer] = (await stores.submissions.accept([Submission(jobs, batch=batch)])).answers
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, Accepted)
    return list(answer.jobs)


async def statuses(stores: Stores, jobs: Iterable[NewJob]) -> list[str]:
    return [(await stores.get(job)).status for job in jobs]


async def run(stores: Stores, job: NewJob, end: str = "completed", **fields: Any) -> list[UUID]:
    """Claim and end a job; return what became pending by that."""
    assert await stores.report(job, "running") == (Answer.ACCEPTED, None)
    fields = {"retryable": False} | fields
    report = Report.model_validate({"job_id": job.id, "attempt": 1, "status": end, "worker_id": "w1"} | fields)
    applied = await stores.reports.apply([report])
    assert applied.answers[0].answer is Answer.ACCEPTED
    return [UUID(str(dispatch.job_id)) for dispatch in applied.ready]


async def test_a_child_waits_for_the_last_of_its_parents_and_gets_their_results(stores: Stores) -> None:
    first, second = new_job(), new_job()
    kid = child(second, first)
    await stores.add(first, second)
    [stored] = await accept(stores, kid)
    assert stored.status == "blocked"
    assert await stores.report(kid, "running") == (Answer.REFUSED, "not_ready")
    assert await run(stores, first, result={"n": 1}) == []
    assert await run(stores, second, result={"n": 2}) == [kid.id]
    claim = Report.model_validate({"job_id": kid.id, "attempt": 1, "status": "running", "worker_id": "w1"})
    [answer] = (await stores.reports.apply([claim])).answers
    assert [(parent.job_id, parent.result) for parent in answer.parents] == [
        (second.id, {"n": 2}),
        (first.id, {"n": 1}),
    ]
    assert await stores.timeline(kid) == ["blocked", "pending", "running"]


async def test_a_parent_that_has_ended_already_counts(stores: Stores) -> None:
    parent = new_job()
    await stores.add(parent)
    await run(stores, parent)
    [stored] = await accept(stores, child(parent))
    assert stored.status == "pending"


async def test_a_failed_parent_cancels_all_its_descendants_and_nobody_else(stores: Stores) -> None:
    bad, good = new_job(), new_job()
    kid, grandkid = child(bad), new_job()
    grandkid = child(kid)
    spared, anyway = child(good), child(bad, run_anyway=True)
    await stores.add(bad, good)
    await accept(stores, kid, grandkid, spared, anyway)
    assert await run(stores, bad, "failed", error_message="no") == [anyway.id]
    assert await statuses(stores, [kid, grandkid, spared, anyway]) == ["cancelled", "cancelled", "blocked", "pending"]
    error = json.loads((await stores.get(grandkid)).error or "")
    assert error == {"type": "ParentFailed", "message": f"its parent {kid.id} ended as cancelled"}


async def test_a_child_of_a_parent_that_failed_before_is_cancelled_at_once(stores: Stores) -> None:
    bad = new_job()
    await stores.add(bad)
    await run(stores, bad, "failed")
    kid = child(bad)
    stored = await accept(stores, kid, child(kid))
    assert [each.status for each in stored] == ["cancelled", "cancelled"]


async def test_a_parent_that_nobody_knows_is_refused(stores: Stores) -> None:
    with pytest.raises(InvalidRequest, match="there is no job"):
        await accept(stores, child(new_job()))


async def test_a_line_longer_than_one_transaction_takes_is_finished_by_the_follower(stores: Stores) -> None:
    line = [new_job()]
    await stores.add(line[0])
    for _ in range(30):
        line.append(child(line[-1]))
    await accept(stores, *line[1:])
    await run(stores, line[0], "failed")
    assert 0 < Counter(await statuses(stores, line))["blocked"] < 30
    [left] = await stores.database.fetch("SELECT job_id FROM follow_ups")
    await stores.database.fetch("SELECT follow_up(ARRAY[$1::uuid])", left["job_id"])
    assert Counter(await statuses(stores, line[1:])) == {"cancelled": 30}


async def test_no_more_run_at_once_than_the_limit_and_slots_are_given_on(stores: Stores) -> None:
    jobs = [keyed(limit=2) for _ in range(5)]
    stored = await accept(stores, *jobs)
    assert Counter(each.status.value for each in stored)["pending"] == 2
    for _ in range(5):
        ready = [job for job in jobs if (await stores.get(job)).status == "pending"]
        assert 1 <= len(ready) <= 2
        await run(stores, ready[0])
    assert set(await statuses(stores, jobs)) == {"completed"}


@pytest.mark.parametrize("end", ["failed", "cancelled", "timeout"])
async def test_a_slot_is_given_on_however_its_holder_ends(stores: Stores, end: str) -> None:
    holder, waiter = keyed(), keyed()
    await accept(stores, holder, waiter)
    assert await statuses(stores, [holder, waiter]) == ["pending", "blocked"]
    assert await run(stores, holder, end) == [waiter.id]


async def test_a_retry_gives_its_slot_away_while_it_waits(stores: Stores) -> None:
    holder, waiter = keyed(), keyed()
    await accept(stores, holder, waiter)
    assert await run(stores, holder, "failed", retryable=True) == [waiter.id]
    assert await statuses(stores, [holder, waiter]) == ["retrying", "pending"]


async def test_a_cancelled_holder_gives_its_slot_on_and_a_clients_retry_stands_in_line(stores: Stores) -> None:
    holder, waiter = keyed(), keyed()
    await accept(stores, holder, waiter)
    cancelled = await stores.jobs.cancel(holder.id)
    assert [dispatch.job_id for dispatch in cancelled.ready] == [waiter.id]
    assert (await stores.jobs.retry(holder.id)).ready == []
    assert await statuses(stores, [holder, waiter]) == ["blocked", "pending"]
    assert await run(stores, waiter) == [holder.id]


async def test_a_batch_that_stops_on_failure_cancels_what_has_not_started(stores: Stores) -> None:
    batch = NewBatch(new_job().id, 3, stop_on_failure=True, callback_url="https://example.org/hook")
    jobs = [new_job(batch_id=batch.id) for _ in range(3)]
    await accept(stores, *jobs, batch=batch)
    assert await stores.report(jobs[1], "running") == (Answer.ACCEPTED, None)
    assert await run(stores, jobs[0], "failed") == []
    assert await statuses(stores, jobs) == ["failed", "running", "cancelled"]
    report = Report.model_validate({"job_id": jobs[1].id, "attempt": 1, "status": "completed", "worker_id": "w1"})
    [webhook] = (await stores.reports.apply([report])).ready
    assert webhook.type == "distriqueue.webhook"
    assert webhook.payload["url"] == "https://example.org/hook"
    assert webhook.payload["body"]["type"] == "batch.finished"
    assert webhook.payload["body"]["data"]["byStatus"] == {"failed": 1, "completed": 1, "cancelled": 1}


async def test_a_retry_lets_a_stopped_batch_go_on(stores: Stores) -> None:
    batch = NewBatch(new_job().id, 3, stop_on_failure=True)
    jobs = [new_job(batch_id=batch.id) for _ in range(3)]
    await accept(stores, *jobs, batch=batch)
    assert await stores.report(jobs[1], "running") == (Answer.ACCEPTED, None)
    await run(stores, jobs[0], "failed")
    await stores.jobs.retry_many([jobs[0].id, jobs[2].id])
    await stores.report(jobs[1], "completed")
    assert await statuses(stores, jobs) == ["pending", "completed", "pending"]


async def test_a_job_with_a_callback_makes_one_webhook_when_it_is_over(stores: Stores) -> None:
    job = new_job(extras=Extras(callback_url="https://example.org/hook"))
    await accept(stores, job)
    assert await run(stores, job, result={"n": 1}) != []
    [row] = await stores.database.fetch("SELECT id, payload FROM jobs WHERE type = 'distriqueue.webhook'")
    payload = json.loads(row["payload"])
    assert payload["id"] == "msg_" + str(row["id"]).replace("-", "")
    assert payload["body"]["data"]["result"] == {"n": 1}
    assert UUID(str(row["id"])).version == 7


async def test_a_unique_key_is_free_again_once_its_holder_is_over(stores: Stores) -> None:
    extras = Extras(unique_key="u")
    first, again = new_job(extras=extras), new_job(extras=extras)
    await accept(stores, first)
    with pytest.raises(Conflict, match=str(first.id)):
        await accept(stores, again)
    [stored] = await accept(stores, new_job(extras=Extras(unique_key="u", on_conflict="return_existing")))
    assert (stored.id, stored.is_new) == (first.id, False)
    await run(stores, first)
    await accept(stores, again)
    await stores.jobs.cancel(again.id)
    await accept(stores, new_job(extras=extras))
    with pytest.raises(Conflict, match="uniqueKey"):
        await stores.jobs.retry(again.id)
