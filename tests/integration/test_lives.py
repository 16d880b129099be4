"""Random lives of jobs; and, as small as they could be made, those that have broken a rule once."""

from collections.abc import Iterator

import pytest

from distriqueue.core.errors import Conflict, InvalidRequest
from distriqueue.core.job import Priority
from distriqueue.core.messages import Answer, Report, ReportStatus
from distriqueue.store.jobs import Extras, NewBatch, NewJob
from distriqueue.store.reports import Applied, ReportStore
from distriqueue.store.routing import Routing, RoutingStore
from distriqueue.store.submissions import Accepted, Submission
from tests.integration.conftest import Stores, new_job
from tests.integration.lives.ground import Ground, ground
from tests.integration.lives.machine import LONG, search
from tests.integration.lives.player import HOOK


@pytest.fixture
def played_on(database_url: str) -> Iterator[Ground]:
    with ground(database_url) as each:
        yield each


@pytest.mark.timeout(600)  # a failure is made smaller, which takes a while
def test_no_life_breaks_a_rule(played_on: Ground) -> None:
    search(played_on, examples=80)
    assert played_on.tally.examples >= 80
    assert played_on.tally.events > 1000


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_life_of_very_many_breaks_a_rule(played_on: Ground) -> None:
    search(played_on, examples=2500)
    assert played_on.tally.examples >= 2000


def said(job: NewJob, status: ReportStatus = ReportStatus.RUNNING, worker: str = "w1") -> Report:
    return Report(job_id=job.id, attempt=1, status=status, worker_id=worker, retryable=False)


async def tell(stores: Stores, *reports: Report) -> Applied:
    applied = await stores.reports.apply(reports)
    assert {each.answer for each in applied.answers} == {Answer.ACCEPTED}
    return applied


def unique(key: str = "u", *, existing: bool = True, parents: tuple[NewJob, ...] = ()) -> NewJob:
    conflict = "return_existing" if existing else "reject"
    extras = Extras(unique_key=key, on_conflict=conflict, parents=tuple(parent.id for parent in parents))  # type: ignore[arg-type]
    return new_job(extras=extras)


async def test_two_claims_of_one_job_in_one_batch_are_both_refused_in_a_paused_lane(stores: Stores) -> None:
    routing, job = RoutingStore(stores.database), new_job()
    await stores.add(job)
    await routing.pause(Priority.MEDIUM)
    times = iter((0.0, 10.0))
    reports = ReportStore(stores.database, Routing(routing, clock=lambda: next(times)))
    answers = (await reports.apply([said(job), said(job, worker="w2")])).answers
    assert [(each.answer, each.reason) for each in answers] == [(Answer.REFUSED, "queue_paused")] * 2
    assert (await stores.get(job)).status == "pending"


async def test_a_client_that_retries_what_is_not_followed_up_yet_costs_no_webhook(stores: Stores) -> None:
    line = [new_job()]
    for _ in range(LONG):
        line.append(new_job(extras=Extras(parents=(line[-1].id,), callback_url=HOOK)))
    await stores.submissions.accept([Submission(tuple(line))])
    await tell(stores, said(line[0]), said(line[0], ReportStatus.FAILED))
    [left] = await stores.database.fetch("SELECT job_id FROM follow_ups")
    webhooks = (
        "SELECT count(*) AS n FROM dependencies d JOIN jobs w ON w.id = d.child_id WHERE w.type = 'distriqueue.webhook'"
    )
    before = (await stores.database.fetch(f"{webhooks} AND d.parent_id = $1", left["job_id"]))[0]["n"]
    assert before == 1
    await stores.jobs.retry(left["job_id"])
    await stores.jobs.cancel(left["job_id"])
    assert (await stores.database.fetch(f"{webhooks} AND d.parent_id = $1", left["job_id"]))[0]["n"] == 2


async def test_what_is_released_does_not_start_again_once_its_batch_has_stopped(stores: Stores) -> None:
    batch = NewBatch(new_job().id, 3, stop_on_failure=True)
    failing, early, late = (new_job(batch_id=batch.id) for _ in range(3))
    await stores.submissions.accept([Submission((failing, early, late), batch=batch)])
    await tell(stores, said(failing), said(early), said(late))
    applied = await tell(stores, said(early, ReportStatus.RELEASED), said(failing, ReportStatus.FAILED))
    assert applied.ready == []
    assert (await tell(stores, said(late, ReportStatus.RELEASED))).ready == []
    assert [(await stores.get(job)).status for job in (early, late)] == ["cancelled", "cancelled"]


async def test_requests_of_one_commit_wait_for_each_others_unique_keys(stores: Stores) -> None:
    first, refused, same = unique(), unique(existing=False), unique()
    child = new_job(extras=Extras(parents=(same.id,)))
    commit = await stores.submissions.accept([Submission(each) for each in ((first,), (refused,), (same, child))])
    stored, conflict, instead = commit.answers
    assert isinstance(stored, Accepted)
    assert isinstance(conflict, Conflict)
    assert isinstance(instead, Accepted)
    assert [(each.id, each.status) for each in instead.jobs] == [(first.id, "pending"), (child.id, "blocked")]
    assert (await tell(stores, said(first), said(first, ReportStatus.COMPLETED))).ready[0].job_id == child.id


async def test_a_refused_request_takes_no_unique_key_from_others(stores: Stores) -> None:
    orphan, same, other = unique(parents=(new_job(),)), unique(), unique(existing=False)
    commit = await stores.submissions.accept([Submission((each,)) for each in (orphan, same, other)])
    assert isinstance(commit.answers[0], InvalidRequest)
    assert isinstance(commit.answers[1], Accepted)
    assert commit.answers[1].jobs[0].id == same.id
    assert isinstance(commit.answers[2], Conflict)


async def test_two_parents_that_are_one_job_are_waited_for_once(stores: Stores) -> None:
    parent, same = unique(), unique()
    child = new_job(extras=Extras(parents=(parent.id, same.id)))
    [answer] = (await stores.submissions.accept([Submission((parent, same, child))])).answers
    assert isinstance(answer, Accepted)
    assert (await tell(stores, said(parent), said(parent, ReportStatus.COMPLETED))).ready[0].job_id == child.id


async def test_a_job_that_would_wait_for_itself_under_another_id_is_refused(stores: Stores) -> None:
    same = unique()
    [answer] = (await stores.submissions.accept([Submission((unique(parents=(same,)), same))])).answers
    assert isinstance(answer, InvalidRequest)
    assert answer.errors[0]["field"] == "dependsOn"
