"""Logs and checkpoints in the store and over the API: kept once, fenced like every report, gone with their job."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from distriqueue.core.messages import MAX_CHECKPOINT_BYTES, MAX_LOG_FIELDS_BYTES, Answer, Report, ReportAnswer
from distriqueue.store.database import Database
from distriqueue.store.logs import LogReader
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import RunningGateway, running_gateway

ACCEPTED = (Answer.ACCEPTED, None)
STALE = (Answer.STALE, "not_this_workers_attempt")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_line(n: int, message: str | None = None, **fields: Any) -> dict[str, Any]:
    at = (AT + timedelta(seconds=n)).isoformat()
    return {"n": n, "at": at, "message": message or f"line {n}", "fields": fields or None}


async def lines_of(stores: Stores, job: Any, **where: Any) -> list[tuple[int, int, str]]:
    lines = await LogReader(stores.database).of_job(job.id, 10_000, **where)
    return [(line.attempt, line.n, line.message) for line in lines]


async def next_attempt(stores: Stores, job: Any) -> None:
    """Let the scheduler's turn come."""
    await stores.database.fetch(
        "UPDATE jobs SET status = 'pending', attempt = attempt + 1, started_at = NULL, worker_id = NULL WHERE id = $1",
        job.id,
    )


async def claim(stores: Stores, job: Any, attempt: int = 1) -> ReportAnswer:
    report = Report.model_validate({"jobId": job.id, "attempt": attempt, "status": "running", "workerId": "w1"})
    return (await stores.reports.apply([report])).answers[0]


async def test_lines_come_with_progress_and_with_the_end(stores: Stores) -> None:
    job = new_job(max_retries=0)
    await stores.add(job)
    await stores.report(job, "running")
    assert await stores.report(job, "running", progress=5, logs=[a_line(1), a_line(2, "bo\0om", width=3)]) == ACCEPTED
    assert await stores.report(job, "running", logs=[a_line(3)]) == ACCEPTED
    assert await stores.report(job, "failed", logs=[a_line(4)]) == ACCEPTED
    assert await lines_of(stores, job) == [(1, 1, "line 1"), (1, 2, "bo\ufffdom"), (1, 3, "line 3"), (1, 4, "line 4")]
    second = (await LogReader(stores.database).of_job(job.id, 10))[1]
    assert (second.level, second.at, second.fields) == ("info", AT + timedelta(seconds=2), '{"width":3}')
    assert (await stores.get(job)).status == "failed"


async def test_words_without_progress_change_nothing_else(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    await stores.report(job, "running")
    await stores.report(job, "running", progress=40, progress_message="so far")
    before = await stores.get(job)
    assert await stores.report(job, "running", logs=[a_line(1)], checkpoint={"at": 1}) == ACCEPTED
    assert await stores.get(job) == before
    assert await stores.timeline(job) == ["pending", "running", "running"]
    unclaimed = new_job()
    await stores.add(unclaimed)
    assert await stores.report(unclaimed, "running", logs=[a_line(1)]) == STALE
    assert (await stores.get(unclaimed)).status == "pending"


async def test_what_is_told_again_is_kept_once(stores: Stores) -> None:
    job = new_job(max_retries=0)
    await stores.add(job)
    await stores.report(job, "running")
    for _ in range(2):
        assert await stores.report(job, "running", logs=[a_line(1)]) == ACCEPTED
    await stores.report(job, "running", progress=1, logs=[a_line(1, "another"), a_line(2)])
    for _ in range(2):
        assert await stores.report(job, "failed", logs=[a_line(2, "another"), a_line(3)]) == ACCEPTED
    assert await lines_of(stores, job) == [(1, 1, "line 1"), (1, 2, "line 2"), (1, 3, "line 3")]


async def test_an_attempt_that_is_over_or_anothers_leaves_nothing(stores: Stores) -> None:
    job = new_job()
    await stores.add(job)
    await claim(stores, job)
    words: dict[str, Any] = {"logs": [a_line(1)], "checkpoint": {"at": 9}}
    assert await stores.report(job, "running", worker="w2", progress=1, **words) == STALE
    assert await stores.report(job, "failed", worker="w2", **words) == STALE
    assert await stores.report(job, "failed", attempt=2, **words) == STALE
    await stores.report(job, "failed")
    assert await stores.report(job, "running", progress=1, **words) == STALE
    await next_attempt(stores, job)
    assert await stores.report(job, "running", progress=1, **words) == STALE
    assert await lines_of(stores, job) == []
    assert (await claim(stores, job, 2)).checkpoint is None


async def test_all_words_of_one_batch_count(stores: Stores) -> None:
    job, other = new_job(max_retries=3), new_job()
    await stores.add(job, other)
    await claim(stores, job)
    words: list[dict[str, Any]] = [
        {"status": "running", "progress": 10, "logs": [a_line(1)], "checkpoint": 1},
        {"status": "running", "logs": [a_line(2)], "checkpoint": 2},
        {"status": "running", "logs": [a_line(3)]},
    ]
    reports = [Report.model_validate({"jobId": job.id, "attempt": 1, "workerId": "w1"} | each) for each in words]
    reports.append(Report.model_validate({"jobId": other.id, "attempt": 1, "workerId": "w1", "status": "running"}))
    applied = await stores.reports.apply(reports)
    assert [answer.answer for answer in applied.answers] == [Answer.ACCEPTED] * 4
    assert [n for _, n, _ in await lines_of(stores, job)] == [1, 2, 3]
    assert (await stores.get(job)).progress == 10
    assert (await stores.get(other)).status == "running"
    await stores.report(job, "failed")
    await next_attempt(stores, job)
    assert (await claim(stores, job, 2)).checkpoint == 2


@pytest.mark.parametrize("how", ["failed", "timeout", "released", "lost", "client"])
async def test_a_checkpoint_stays_until_the_job_completes(stores: Stores, how: str) -> None:
    job = new_job(max_retries=0 if how == "client" else 5)
    await stores.add(job)
    assert (await claim(stores, job)).checkpoint is None
    await stores.report(job, "running", checkpoint={"page": 6})
    match how:
        case "lost":
            await stores.database.fetch("UPDATE jobs SET status = 'retrying', due_at = now() WHERE id = $1", job.id)
            await next_attempt(stores, job)
        case "released":
            assert await stores.report(job, "released", checkpoint={"page": 7}) == ACCEPTED
        case "client":
            await stores.report(job, "failed", checkpoint={"page": 7})
            assert (await stores.get(job)).status == "failed"
            await stores.jobs.retry(job.id)
        case _:
            assert await stores.report(job, how, checkpoint={"page": 7}) == ACCEPTED
            await next_attempt(stores, job)
    page = 6 if how == "lost" else 7
    assert (await claim(stores, job, 2)).checkpoint == {"page": page}
    assert (await claim(stores, job, 2)).checkpoint == {"page": page}, "its answer was lost"
    await stores.report(job, "failed", attempt=2)
    if how == "client":
        await stores.jobs.retry(job.id)
    else:
        await next_attempt(stores, job)
    assert (await claim(stores, job, 3)).checkpoint == {"page": page}
    assert await stores.report(job, "completed", attempt=3, checkpoint={"page": 8}, result=1) == ACCEPTED
    assert (await stores.database.fetch("SELECT checkpoint FROM jobs WHERE id = $1", job.id))[0][0] is None


async def test_jobs_without_words_are_applied_in_one_statement(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [new_job() for _ in range(3)]
    await stores.add(*jobs)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a transaction, for reports that have nothing to say")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "transaction", refuse)
        for status in ("running", "completed"):
            told = {"attempt": 1, "workerId": "w1", "status": status}
            applied = await stores.reports.apply([Report.model_validate(told | {"jobId": job.id}) for job in jobs])
            assert {answer.answer for answer in applied.answers} == {Answer.ACCEPTED}


async def test_lines_go_with_their_job(stores: Stores) -> None:
    gone, kept = new_job(max_retries=0), new_job()
    await stores.add(gone, kept)
    for job in (gone, kept):
        await stores.report(job, "running")
        await stores.report(job, "running", logs=[a_line(n) for n in range(1, 1_001)])
    await stores.database.fetch("DELETE FROM jobs WHERE id = $1", gone.id)
    rows = await stores.database.fetch("SELECT job_id, count(*) FROM job_logs GROUP BY job_id")
    assert [tuple(row) for row in rows] == [(kept.id, 1_000)]


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        yield running


async def test_a_log_is_read_by_attempts_and_pages(gateway: RunningGateway) -> None:
    job_id = (await gateway.submit(maxRetries=3))["id"]
    url = f"/api/jobs/{job_id}/logs"
    await gateway.report(job_id, "running")
    assert (await gateway.client.get(url)).json() == []
    await gateway.report(job_id, "running", logs=[a_line(n) for n in range(1, 1_001)])
    await gateway.report(job_id, "released")
    await gateway.report(job_id, "running", attempt=2)
    second = [a_line(1, "one", width=3) | {"level": "error"}, a_line(2, "two")]
    assert (await gateway.report(job_id, "running", attempt=2, logs=second))["answer"] == "accepted"
    answer = await gateway.client.get(url)
    assert [(line["attempt"], line["n"]) for line in answer.json()] == [(1, n) for n in range(1, 1_001)]
    assert answer.headers["Link"] == f'<{url}?after=1-1000>; rel="next"'
    rest = await gateway.client.get(url, params={"after": "1-1000"})
    assert "Link" not in rest.headers
    assert rest.json()[0] == {
        "attempt": 2,
        "n": 1,
        "timestamp": "2026-01-01T00:00:01Z",
        "level": "error",
        "message": "one",
        "fields": {"width": 3},
    }
    assert (await gateway.client.get(url, params={"attempt": 2})).json() == rest.json()
    assert len((await gateway.client.get(url, params={"attempt": 1})).json()) == 1_000
    assert len((await gateway.client.get(url, params={"attempt": 1, "after": "1-990"})).json()) == 10
    assert (await gateway.client.get(url, params={"attempt": 1, "after": "2-0"})).json() == []


async def test_what_cannot_be_asked_of_a_log(gateway: RunningGateway) -> None:
    job_id = (await gateway.submit())["id"]
    assert (await gateway.client.get(f"/api/jobs/{uuid4()}/logs")).status_code == 404
    for wrong in ({"after": "x"}, {"after": "1"}, {"after": "-1-1"}, {"attempt": 0}, {"level": "info"}):
        answer = await gateway.client.get(f"/api/jobs/{job_id}/logs", params=wrong)
        assert (answer.status_code, answer.json()["errors"][0]["field"].rpartition(".")[2]) == (422, next(iter(wrong)))
    top = await gateway.client.get(f"/api/jobs/{job_id}/logs", params={"after": "999999999-999999999"})
    assert top.json() == []


async def test_words_that_are_too_many_are_refused(gateway: RunningGateway) -> None:
    job_id = (await gateway.submit())["id"]
    await gateway.report(job_id, "running")
    wrong: list[dict[str, Any]] = [
        {"logs": [a_line(0)]},
        {"logs": [a_line(1_001)]},
        {"logs": [a_line(1)] * 1_001},
        {"logs": [a_line(1, "x" * 2_001)]},
        {"logs": [a_line(1) | {"level": "loud"}]},
        {"logs": [a_line(1) | {"at": "2026-01-01T00:00:00"}]},
        {"logs": [a_line(1, text="x" * MAX_LOG_FIELDS_BYTES)]},
        {"checkpoint": "x" * MAX_CHECKPOINT_BYTES},
    ]
    for words in wrong:
        body = {"jobId": job_id, "attempt": 1, "status": "running", "workerId": "w1"} | words
        answer = await gateway.client.post("/api/jobs/status", json=body)
        assert answer.status_code == 422, words
        assert answer.json()["errors"][0]["field"].startswith(next(iter(words)))
    assert (await gateway.client.get(f"/api/jobs/{job_id}/logs")).json() == []


async def test_a_claim_brings_the_checkpoint(gateway: RunningGateway) -> None:
    job_id = (await gateway.submit())["id"]
    assert "checkpoint" not in await gateway.report(job_id, "running")
    checkpoint = {"page": [1, None, {"ä": 2.5}]}
    await gateway.report(job_id, "running", checkpoint=checkpoint)
    await gateway.report(job_id, "released")
    assert (await gateway.report(job_id, "running", attempt=2))["checkpoint"] == checkpoint
