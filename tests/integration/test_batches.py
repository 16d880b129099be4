"""Jobs that come together, over REST: what waits for what, what stops, what is refused, and what is told of them."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from distriqueue.core.errors import InvalidRequest
from distriqueue.store.jobs import Extras
from distriqueue.store.submissions import Accepted, Submission
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import RunningGateway, running_gateway


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        yield running


def ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def job(id_: str | None = None, *parents: str, **fields: Any) -> dict[str, Any]:
    named = {} if id_ is None else {"id": id_}
    waits = {"dependsOn": list(parents)} if parents else {}
    return {"type": "calculate"} | named | waits | fields


async def post(gateway: RunningGateway, *jobs: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = await gateway.client.post("/api/jobs/batch", json={"jobs": jobs} | options)
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def refused(gateway: RunningGateway, *jobs: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = await gateway.client.post("/api/jobs/batch", json={"jobs": jobs} | options)
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    return problem


async def read(gateway: RunningGateway, batch_id: str) -> dict[str, Any]:
    answer = await gateway.client.get(f"/api/batches/{batch_id}")
    assert answer.status_code == 200, answer.text
    batch: dict[str, Any] = answer.json()
    return batch


async def statuses(gateway: RunningGateway, told: dict[str, Any]) -> list[str]:
    by_id = {each["id"]: each["status"] for each in (await read(gateway, told["batchId"]))["jobs"]}
    return [by_id[each] for each in told["jobIds"]]


async def run(gateway: RunningGateway, job_id: str, end: str = "completed", **fields: Any) -> None:
    assert (await gateway.report(job_id, "running"))["answer"] == "accepted"
    assert (await gateway.report(job_id, end, retryable=False, **fields))["answer"] == "accepted"


async def test_a_batch_is_shown_from_its_name_to_its_end(gateway: RunningGateway) -> None:
    told = await post(gateway, job(), job(), job(), batchName="night", maxConcurrent=2)
    batch = await read(gateway, told["batchId"])
    assert (batch["name"], batch["totalJobs"], batch["maxConcurrent"], batch["sequential"]) == ("night", 3, 2, False)
    assert (batch["finished"], batch["progress"], batch["finishedAt"]) == (False, 0.0, None)
    assert [each["id"] for each in batch["jobs"]] == told["jobIds"]
    listed = (await gateway.client.get(batch["links"]["jobs"])).json()
    assert {each["id"] for each in listed["content"]} == set(told["jobIds"])
    for job_id in told["jobIds"]:
        await run(gateway, job_id)
    over = await read(gateway, told["batchId"])
    assert (over["finished"], over["progress"], over["byStatus"]) == (True, 100.0, {"completed": 3})
    assert over["finishedAt"] > over["createdAt"]
    assert (await gateway.client.get(f"/api/batches/{uuid.uuid4()}")).status_code == 404


async def test_the_list_goes_from_the_newest_a_page_at_a_time(gateway: RunningGateway) -> None:
    told = [await post(gateway, *[job()] * (n + 1), batchName=f"b{n}") for n in range(5)]
    await run(gateway, told[3]["jobIds"][0])
    await run(gateway, told[0]["jobIds"][0], "failed")
    seen: list[dict[str, Any]] = []
    cursor: str | None = None
    for size in (2, 2, 1):
        query = {"size": 2} | ({} if cursor is None else {"cursor": cursor})
        page = (await gateway.client.get("/api/batches", params=query)).json()
        assert (page["size"], len(page["content"])) == (2, size)
        seen += page["content"]
        cursor = page["nextCursor"]
    assert cursor is None
    assert [each["id"] for each in seen] == [each["batchId"] for each in reversed(told)]
    assert [each["byStatus"] for each in seen] == [
        {"pending": 5},
        {"pending": 3, "completed": 1},
        {"pending": 3},
        {"pending": 2},
        {"failed": 1},
    ]
    assert [each["finished"] for each in seen] == [False] * 4 + [True]
    for each in seen:
        alone = await read(gateway, each["id"])
        del alone["jobs"]
        assert alone == each
    for wrong in ({"size": 0}, {"size": 101}, {"cursor": "x"}, {"page": 1}):
        answer = await gateway.client.get("/api/batches", params=wrong)
        assert [each["field"] for each in answer.json()["errors"]] == list(wrong)


async def test_a_sequence_runs_one_after_another_and_goes_on_after_a_failure(gateway: RunningGateway) -> None:
    told = await post(gateway, job(), job(), job(), sequential=True)
    assert await statuses(gateway, told) == ["pending", "blocked", "blocked"]
    await run(gateway, told["jobIds"][0], "failed")
    assert (await statuses(gateway, told))[1:] != ["blocked", "blocked"]
    await run(gateway, told["jobIds"][1])
    await run(gateway, told["jobIds"][2])


async def test_a_sequence_that_stops_on_failure_cancels_the_rest(gateway: RunningGateway) -> None:
    told = await post(gateway, job(), job(), job(), sequential=True, stopOnFailure=True)
    await run(gateway, told["jobIds"][0])
    await run(gateway, told["jobIds"][1], "failed")
    assert await statuses(gateway, told) == ["completed", "failed", "cancelled"]
    assert (await read(gateway, told["batchId"]))["stopped"]


async def test_a_batch_that_stops_leaves_what_runs(gateway: RunningGateway) -> None:
    told = await post(gateway, job(), job(), job(), stopOnFailure=True)
    await gateway.report(told["jobIds"][1], "running")
    await run(gateway, told["jobIds"][0], "failed")
    assert await statuses(gateway, told) == ["failed", "running", "cancelled"]


async def test_no_more_run_at_once_than_was_asked(gateway: RunningGateway) -> None:
    told = await post(gateway, *(job() for _ in range(5)), maxConcurrent=2)
    waiting = (await statuses(gateway, told)).count("blocked")
    assert waiting == 3
    first = next(
        id_ for id_, status in zip(told["jobIds"], await statuses(gateway, told), strict=True) if status != "blocked"
    )
    await run(gateway, first)
    assert (await statuses(gateway, told)).count("blocked") == 2


async def test_its_callback_tells_of_the_end_once(gateway: RunningGateway) -> None:
    told = await post(gateway, job(), job(), callbackUrl="https://example.org/hook")
    await asyncio.gather(*(run(gateway, job_id) for job_id in told["jobIds"]))
    [webhook] = (await gateway.client.get(f"/api/batches/{told['batchId']}/webhooks")).json()
    assert (webhook["event"], webhook["url"]) == ("batch.finished", "https://example.org/hook")


async def test_jobs_of_a_batch_wait_for_each_other_by_their_own_ids_in_any_order(gateway: RunningGateway) -> None:
    end, left, right, start = ids(4)
    told = await post(gateway, job(end, left, right), job(left, start), job(right, start), job(start))
    assert await statuses(gateway, told) == ["blocked", "blocked", "blocked", "pending"]
    for job_id in (start, right, left, end):
        await run(gateway, job_id)
    assert (await read(gateway, told["batchId"]))["finished"]


class TestRefused:
    async def test_a_circle_is_named(self, gateway: RunningGateway) -> None:
        first, second, third = ids(3)
        problem = await refused(gateway, job(first, third), job(second, first), job(third, second), job())
        [error] = problem["errors"]
        assert error["field"] == "jobs"
        assert "circle" in error["message"]
        assert all(each in error["message"] for each in (first, second, third))
        [own] = ids(1)
        assert (await refused(gateway, job(own, own)))["errors"][0]["field"] == "jobs.0.dependsOn"

    async def test_a_parent_that_nobody_knows_stores_nothing(self, gateway: RunningGateway) -> None:
        [nobody] = ids(1)
        problem = await refused(gateway, job(), job(None, nobody))
        assert problem["errors"] == [{"field": "dependsOn", "message": f"there is no job {nobody}"}]
        assert (await gateway.client.get("/api/jobs")).json()["totalElements"] == 0

    @pytest.mark.parametrize(
        ("fields", "options", "field"),
        [
            ({"concurrencyKey": "k"}, {"maxConcurrent": 2}, "maxConcurrent"),
            ({"dependsOn": ids(1)}, {"sequential": True}, "sequential"),
            ({}, {"maxConcurrent": 0}, "maxConcurrent"),
            ({}, {"callbackUrl": "ftp://example.org"}, "callbackUrl"),
            ({}, {"batchName": ""}, "batchName"),
            ({}, {"colour": "red"}, "colour"),
        ],
    )
    async def test_what_does_not_go_together(
        self, gateway: RunningGateway, fields: dict[str, Any], options: dict[str, Any], field: str
    ) -> None:
        problem = await refused(gateway, job(), job(**fields), **options)
        assert [error["field"] for error in problem["errors"]] == [field]


class TestPartial:
    async def test_what_waits_for_a_wrong_job_is_wrong_too(self, gateway: RunningGateway) -> None:
        bad, kid, grandkid, good = ids(4)
        jobs = [job(grandkid, kid), job(bad, type=""), job(kid, bad), job(good)]
        told = await post(gateway, *jobs, partial=True)
        assert told["jobIds"] == [None, None, None, good]
        assert {(error["index"], error["field"]) for error in told["errors"]} == {
            (1, "jobs.1.type"),
            (2, "jobs.2.dependsOn"),
            (0, "jobs.0.dependsOn"),
        }
        assert (told["successful"], told["failed"]) == (1, 3)

    async def test_all_wrong_is_no_batch(self, gateway: RunningGateway) -> None:
        told = await post(gateway, job(type=""), partial=True)
        assert (told["batchId"], told["successful"], told["failed"], told["jobIds"]) == (None, 0, 1, [None])


class TestUniqueKeys:
    async def test_a_job_that_was_there_already_is_not_of_the_batch(self, gateway: RunningGateway) -> None:
        there = await gateway.submit(uniqueKey="u")
        shared = job(uniqueKey="u", onConflict="return_existing")
        told = await post(gateway, shared, job())
        assert told["jobIds"][0] == there["id"]
        batch = await read(gateway, told["batchId"])
        assert (batch["totalJobs"], batch["progress"], batch["finished"]) == (1, 0.0, False)
        assert [each["id"] for each in batch["jobs"]] == told["jobIds"][1:]
        alone = await post(gateway, shared)
        assert alone["jobIds"] == [there["id"]]
        batch = await read(gateway, alone["batchId"])
        assert (batch["totalJobs"], batch["progress"], batch["finished"]) == (0, 100.0, True)

    async def test_who_waits_for_two_that_are_one_waits_once(self, gateway: RunningGateway) -> None:
        first, second, end = ids(3)
        same = {"uniqueKey": "u", "onConflict": "return_existing"}
        told = await post(gateway, job(end, first, second), job(first, **same), job(second, **same))
        assert told["jobIds"] == [end, first, first]
        await run(gateway, first)
        await run(gateway, end)

    async def test_a_job_that_would_come_to_wait_for_itself_is_refused(self, gateway: RunningGateway) -> None:
        first, second = ids(2)
        same = {"uniqueKey": "u", "onConflict": "return_existing"}
        problem = await refused(gateway, job(first, second, **same), job(second, **same))
        assert first in problem["errors"][0]["message"]

    async def test_a_refused_submission_takes_no_key_from_the_others_of_its_commit(self, stores: Stores) -> None:
        nobody = new_job()
        bad = new_job(extras=Extras(unique_key="u", parents=(nobody.id,)))
        rejects = new_job(extras=Extras(unique_key="u"))
        returns = new_job(extras=Extras(unique_key="u", on_conflict="return_existing"))
        commit = await stores.submissions.accept([Submission((each,)) for each in (bad, rejects, returns)])
        assert isinstance(commit.answers[0], InvalidRequest)
        jobs = [answer.jobs[0] for answer in commit.answers[1:] if isinstance(answer, Accepted)]
        assert [(each.id, each.is_new) for each in jobs] == [(rejects.id, True), (rejects.id, False)]

    async def test_a_child_may_wait_for_what_another_of_its_commit_has_just_made(self, stores: Stores) -> None:
        """As two clients do at the same time: make sure that the parent is there, and add a child."""
        extras = Extras(unique_key="u", on_conflict="return_existing")
        parents = [new_job(extras=extras), new_job(extras=extras)]
        kids = [new_job(extras=Extras(parents=(parent.id,))) for parent in parents]
        commit = await stores.submissions.accept(
            [Submission(pair, own_ids=True) for pair in zip(parents, kids, strict=True)]
        )
        assert all(isinstance(answer, Accepted) for answer in commit.answers)
        rows = await stores.database.fetch("SELECT parent_id FROM dependencies")
        assert {row["parent_id"] for row in rows} == {parents[0].id}
        assert len(rows) == 2

    async def test_by_their_ids_two_of_one_commit_cannot_make_a_circle(self, stores: Stores) -> None:
        first = new_job()
        second = new_job(extras=Extras(parents=(first.id,)))
        circle = [replace(first, extras=Extras(parents=(second.id,))), second]
        commit = await stores.submissions.accept([Submission((each,), own_ids=True) for each in circle])
        assert all(isinstance(answer, InvalidRequest) for answer in commit.answers)
