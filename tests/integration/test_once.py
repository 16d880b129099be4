"""What is sent twice is done once, over two gateways."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

import asyncpg
import httpx
import pytest

from distriqueue.core.errors import Conflict, IdempotencyKeyInFlight, InvalidRequest
from distriqueue.store.idempotency import IdempotencyKey
from distriqueue.store.jobs import Extras
from distriqueue.store.leadership import LeadershipStore
from distriqueue.store.submissions import Accepted, Submission, SubmissionStore
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import RunningGateway, running_gateway

Two = tuple[RunningGateway, RunningGateway]
CLIENTS: Final = 40


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Two]:
    """Two gateways on one database."""
    async with running_gateway(database_url) as first, running_gateway(database_url) as second:
        yield first, second


async def post(
    gateway: RunningGateway,
    body: Any,
    *,
    key: str | None = None,
    path: str = "/api/jobs",
    client: httpx.AsyncClient | None = None,
) -> httpx.Response:
    """Post, and again while the first request with the key is being worked on."""
    headers = {} if key is None else {"Idempotency-Key": key}
    for _ in range(100):
        answer = await (client or gateway.client).post(path, json=body, headers=headers)
        if answer.status_code != 409 or answer.json()["code"] != "idempotency_key_in_flight":
            return answer
        await asyncio.sleep(0.2)  # Retry-After, faster
    raise AssertionError(f"{key} is in flight for ever")


async def together(two: Two, posts: list[tuple[Any, str | None]]) -> list[httpx.Response]:
    """Post all at the same time, to both in turn; by many clients, for one takes the square of its requests' number."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=two[n % 2].url, timeout=30, verify=False))
            for n in range(CLIENTS)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(post(two[n % 2], body, key=key, client=clients[n % CLIENTS]))
                for n, (body, key) in enumerate(posts)
            ]
        return [task.result() for task in tasks]


async def count(two: Two) -> int:
    listed = await two[0].client.get("/api/jobs")
    return int(listed.json()["totalElements"])


async def test_a_thousand_posts_with_a_hundred_idempotency_keys_make_a_hundred_jobs(two: Two) -> None:
    posts: list[tuple[Any, str | None]] = [
        ({"type": "calculate", "payload": {"numbers": [n % 100]}}, f"key-{n % 100}") for n in range(1000)
    ]
    answers = await together(two, posts)
    assert {answer.status_code for answer in answers} == {202}
    by_key: dict[str, set[bytes]] = defaultdict(set)
    for (_, key), answer in zip(posts, answers, strict=True):
        by_key[str(key)].add(answer.content)
    assert {len(told) for told in by_key.values()} == {1}
    assert sum(answer.headers.get("Idempotency-Replayed") != "true" for answer in answers) == 100
    assert await count(two) == 100


async def test_a_thousand_posts_with_a_hundred_unique_keys_make_a_hundred_jobs(two: Two) -> None:
    body = {"type": "calculate", "onConflict": "return_existing"}
    answers = await together(two, [(body | {"uniqueKey": f"u-{n % 100}"}, None) for n in range(1000)])
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(200)) == (100, 900)
    assert len({answer.json()["id"] for answer in answers}) == await count(two) == 100


async def test_of_a_thousand_posts_all_but_the_first_with_each_unique_key_are_refused(two: Two) -> None:
    body = {"type": "calculate"}
    answers = await together(two, [(body | {"uniqueKey": f"u-{n % 100}"}, None) for n in range(1000)])
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(409)) == (100, 900)
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"conflict"}
    assert await count(two) == 100


async def test_a_replay_is_the_first_answer_even_after_the_job_has_ended(two: Two) -> None:
    body = {"type": "calculate", "payload": {"b": 1, "a": 2}}
    first = await post(two[0], body, key="k")
    job = first.json()
    await two[0].report(job["id"], "running")
    await two[0].report(job["id"], "completed", result={})
    again = await post(two[1], {"payload": {"a": 2, "b": 1}, "type": "calculate"}, key="k")
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (job, "true")


async def test_a_key_with_another_request_is_refused(two: Two) -> None:
    await post(two[0], {"type": "calculate"}, key="k")
    for body, path in (({"type": "validate"}, "/api/jobs"), ([{"type": "calculate"}], "/api/jobs/batch")):
        other = await post(two[1], body, key="k", path=path)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_batch_is_replayed_whole(two: Two) -> None:
    body = {"jobs": [{"type": "calculate"}, {"type": ""}, {"type": "validate"}], "partial": True}
    first = await post(two[0], body, key="k", path="/api/jobs/batch")
    again = await post(two[1], body, key="k", path="/api/jobs/batch")
    assert again.json() == first.json()
    assert await count(two) == 2


async def test_a_refused_request_uses_no_key_up(two: Two) -> None:
    own = str(uuid.uuid4())
    assert (await post(two[0], {"type": "calculate", "id": own})).status_code == 202
    assert (await post(two[0], {"type": "calculate", "id": own}, key="k")).status_code == 409
    assert (await post(two[0], {"type": "calculate"}, key="k")).status_code == 202


async def test_integers_of_any_size_have_a_fingerprint(two: Two) -> None:
    answer = await post(two[0], {"type": "calculate", "payload": {"n": 10**30}}, key="k")
    assert answer.status_code == 202


async def test_one_of_many_batches_with_a_key_is_stored(two: Two) -> None:
    body = {"jobs": [{"type": "calculate"}] * 3, "batchName": "night"}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(two[n % 2], body, key="k", path="/api/jobs/batch")) for n in range(40)]
    answers = [task.result() for task in tasks]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert {answer.headers["Location"] for answer in answers} == {f"/api/batches/{answers[0].json()['batchId']}"}
    assert await count(two) == 3


class TestInFlight:
    """The first request's commit is held up."""

    @pytest.fixture
    async def lock(self, database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        connection = await asyncpg.connect(database_url, timeout=10)
        await connection.execute("BEGIN; LOCK TABLE jobs IN SHARE MODE")
        yield connection
        connection.terminate()

    async def held_up(self, lock: "asyncpg.Connection[asyncpg.Record]") -> int:
        """Wait until a commit waits; return the pid of its backend."""
        for _ in range(500):
            pid = await lock.fetchval(
                "SELECT pid FROM pg_locks WHERE relation = 'jobs'::regclass AND NOT granted LIMIT 1"
            )
            if pid is not None:
                return int(pid)
            await asyncio.sleep(0.01)
        raise AssertionError("nothing waits for the lock")

    async def test_the_second_is_told_to_come_again(self, two: Two, lock: "asyncpg.Connection[asyncpg.Record]") -> None:
        job, headers = {"type": "calculate"}, {"Idempotency-Key": "k"}
        async with asyncio.TaskGroup() as group:
            first = group.create_task(two[0].client.post("/api/jobs", json=job, headers=headers))
            await self.held_up(lock)
            for gateway, path, body in (
                (two[1], "/api/jobs", job),
                (two[0], "/api/jobs", job),
                (two[1], "/api/jobs/batch", [job]),
            ):
                answer = await gateway.client.post(path, json=body, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_flight")
                assert answer.headers["Retry-After"] == "1"
            await lock.execute("ROLLBACK")
        assert (await first).status_code == 202
        again = await two[1].client.post("/api/jobs", json=job, headers=headers)
        assert (again.status_code, again.content) == (202, (await first).content)

    async def test_a_commit_that_broke_leaves_no_key(
        self, two: Two, lock: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        job, headers = {"type": "calculate"}, {"Idempotency-Key": "k"}
        async with asyncio.TaskGroup() as group:
            first = group.create_task(two[0].client.post("/api/jobs", json=job, headers=headers))
            await lock.fetchval("SELECT pg_terminate_backend($1, 5000)", await self.held_up(lock))
        broken = await first
        assert (broken.status_code, broken.json()["code"]) == (503, "store_unavailable")
        assert "Retry-After" in broken.headers
        await lock.execute("ROLLBACK")
        again = await two[1].client.post("/api/jobs", json=job, headers=headers)
        assert again.status_code == 202
        assert "Idempotency-Replayed" not in again.headers
        assert await count(two) == 1


async def test_two_that_store_the_same_ids_in_other_orders_do_not_lock_each_other_out(stores: Stores) -> None:
    for _ in range(6):
        jobs = [new_job() for _ in range(500)]
        orders = [[Submission((job,), own_ids=True) for job in order] for order in (jobs, jobs[::-1])]
        commits = await asyncio.gather(*(stores.submissions.accept(order) for order in orders))
        for job, (one, other) in zip(jobs, zip(commits[0].answers, commits[1].answers[::-1], strict=True), strict=True):
            assert {type(one), type(other)} == {Accepted, Conflict}, job.id
    await stores.database.fetch("SELECT pg_stat_force_next_flush()")
    [row] = await stores.database.fetch("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert row["deadlocks"] == 0


async def test_keys_are_forgotten_when_they_are_old_and_then_mean_nothing(stores: Stores) -> None:
    await LeadershipStore(stores.database).claim(1, node="n", boot="b")
    submissions = SubmissionStore(stores.database)
    key = IdempotencyKey("", "k", b"f")
    first, second = new_job(), new_job()
    await submissions.accept([Submission((first,), idempotency=key)])
    [replayed] = (await submissions.accept([Submission((second,), idempotency=key)])).answers
    assert isinstance(replayed, Accepted)
    assert (replayed.replayed, replayed.jobs[0].id) == (True, first.id)
    await stores.database.fetch("UPDATE idempotency_keys SET created_at = now() - interval '25 h'")
    assert await submissions.forget_keys(older_than_s=26 * 3600, limit=10, epoch=1) == 0
    assert await submissions.forget_keys(older_than_s=24 * 3600, limit=10, epoch=1) == 1
    [anew] = (await submissions.accept([Submission((second,), idempotency=key)])).answers
    assert isinstance(anew, Accepted)
    assert (anew.replayed, anew.jobs[0].id) == (False, second.id)


async def test_the_same_request_twice_in_one_commit_has_one_answer_and_another_waits(stores: Stores) -> None:
    good, bad = IdempotencyKey("", "k", b"f"), IdempotencyKey("", "bad", b"f")
    nobody = new_job(extras=Extras(parents=(new_job().id,)))
    jobs = [new_job(), new_job(), new_job(), nobody, new_job()]
    keys = [good, good, replace(good, fingerprint=b"other"), bad, bad]
    commit = await stores.submissions.accept(
        [Submission((job,), idempotency=key) for job, key in zip(jobs, keys, strict=True)]
    )
    first, again, other, refused, after_it = commit.answers
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (first.replayed, again.replayed, again.jobs) == (False, True, first.jobs)
    assert isinstance(refused, InvalidRequest)
    assert isinstance(other, IdempotencyKeyInFlight)
    assert isinstance(after_it, IdempotencyKeyInFlight)
    assert len(commit.ready) == 1
