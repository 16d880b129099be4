"""The client against a real gateway, the test being the worker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest

from distriqueue import (
    AsyncClient,
    AsyncJob,
    Client,
    Conflict,
    EventsLost,
    Forbidden,
    InvalidRequest,
    JobFailed,
    NewJob,
    NotFound,
    Priority,
    ResultTimeout,
    Status,
    Unauthorized,
)
from distriqueue.core.access import Scope, Token
from distriqueue.core.errors import IdempotencyKeyReused
from distriqueue.sdk.handle import JobHandle
from distriqueue.sdk.models import JobEvent
from distriqueue.store.access import AccessStore, NewKey
from distriqueue.testing import assert_submitted
from tests.integration.conftest import Stores
from tests.integration.gateway import RunningGateway, running_gateway
from tests.servers.proxy import proxy

LARGE: Final = "x" * 20_000


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(gateway.url, retry_for_s=10)
    async with client:
        yield client


async def complete(gateway: RunningGateway, jobs: Iterable[JobHandle], result: Any = 7) -> None:
    """Run jobs as a worker does."""
    for job in jobs:
        await gateway.report(str(job.id), "running")
        assert (await gateway.report(str(job.id), "completed", result=result))["answer"] == "accepted"


async def test_everything_that_is_said_of_a_job_is_kept(client: AsyncClient) -> None:
    parent = await client.submit("calculate")
    later = datetime.now(UTC) + timedelta(days=1)
    job = await client.submit(
        "resize",
        {"width": 80},
        priority="critical",
        max_retries=7,
        retry_policy={"type": "fixed", "base": 5.0},
        execution_timeout=12.5,
        schedule_at=later,
        expires_at=later + timedelta(days=1),
        depends_on=[parent],
        on_parent_failure="run",
        unique_key="u",
        concurrency_key="c",
        concurrency_limit=2,
        callback_url="https://example.com/hook",
        tags=["a", "b"],
        metadata={"from": "a test"},
        id=(chosen := uuid4()),
    )
    assert (job.id, job.type, job.status, job.is_finished) == (chosen, "resize", Status.BLOCKED, False)
    seen = (await client.get(job.id)).snapshot
    assert seen == job.snapshot
    assert seen is not None
    assert (seen.priority, seen.max_retries, seen.execution_timeout) == (Priority.CRITICAL, 7, 12.5)
    assert (seen.payload, seen.metadata, seen.tags) == ({"width": 80}, {"from": "a test"}, ("a", "b"))
    assert (seen.unique_key, seen.concurrency_key, seen.concurrency_limit) == ("u", "c", 2)
    assert (seen.depends_on, seen.schedule_at, seen.callback_url) == ((parent.id,), later, "https://example.com/hook")


async def test_a_result_a_failure_and_a_wait_that_is_too_short(gateway: RunningGateway, client: AsyncClient) -> None:
    first, second = await client.submit("t"), await client.submit("t", max_retries=0)
    with pytest.raises(ResultTimeout):
        await first.result(timeout=0.1)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        waiting = group.create_task(first.result())
        await complete(gateway, [first], {"n": 1})
    assert waiting.result() == {"n": 1}
    await gateway.report(str(second.id), "running")
    await gateway.report(str(second.id), "failed", errorMessage="no", errorType="OSError", traceback="in f")
    with pytest.raises(JobFailed, match="failed: OSError: no") as raised:
        await second.result(timeout=10)
    assert raised.value.traceback == "in f"
    assert (await second.retry()).status is Status.PENDING
    with pytest.raises(Conflict):
        await second.retry()
    assert (await second.cancel()).status is Status.CANCELLED


async def test_a_result_is_found_after_a_cut_whose_events_are_no_longer_kept(
    gateway: RunningGateway, stores: Stores
) -> None:
    port = int(gateway.url.rpartition(":")[2])
    async with proxy(port) as wire, AsyncClient(f"http://127.0.0.1:{wire.port}") as client:
        job = await client.submit("t")
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            waiting = group.create_task(job.result())
            await asyncio.sleep(0.3)  # nothing tells that the client listens
            wire.close()
            await complete(gateway, [job], 5)
            for _ in range(3):
                await gateway.submit()
            await forget_events(stores)
            wire.reopen()
        assert waiting.result() == 5


async def forget_events(stores: Stores) -> None:
    """Delete all events but the newest, as retention does."""
    await stores.database.fetch("UPDATE event_floor SET seq = (SELECT max(seq) - 1 FROM events)")
    await stores.database.fetch("DELETE FROM events WHERE seq < (SELECT max(seq) FROM events)")


async def test_a_jobs_story_is_told_once_from_its_beginning(gateway: RunningGateway, client: AsyncClient) -> None:
    job = await client.submit("t")
    told: list[JobEvent] = []

    async def listen() -> None:
        told.extend([event async for event in job.events()])

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(listen())
        await complete(gateway, [job])
    statuses = [event.status.value for event in told if event.status is not Status.QUEUED]
    assert statuses == ["pending", "running", "completed"]
    assert [event.id for event in told] == sorted({event.id for event in told})
    again = [event async for event in job.events()]
    assert [event.id for event in again] == [event.id for event in told]


async def test_events_of_all_are_heard_live_and_resumed(gateway: RunningGateway, client: AsyncClient) -> None:
    heard: list[JobEvent] = []
    async with asyncio.timeout(20), contextlib.aclosing(client.events(type="t", after=0)) as events:
        job, other = await client.submit("t"), await client.submit("other")
        await complete(gateway, [job, other])
        async for event in events:
            heard.append(event)
            if event.is_end:
                break
    assert {event.job_id for event in heard} == {job.id}
    async with asyncio.timeout(20), contextlib.aclosing(client.events(after=heard[0].id, status="completed")) as events:
        assert (await anext(events)).job_id == job.id


async def test_events_that_are_no_longer_kept_are_said_to_be_lost(
    gateway: RunningGateway, client: AsyncClient, stores: Stores
) -> None:
    await complete(gateway, [await client.submit("t") for _ in range(3)])
    await forget_events(stores)
    async with asyncio.timeout(20), contextlib.aclosing(client.events(after=1)) as events:
        with pytest.raises(EventsLost) as raised:
            await anext(events)
    assert raised.value.last_event_id > 1


async def test_lists_go_page_by_page(gateway: RunningGateway, client: AsyncClient) -> None:
    batch = await client.submit_many(NewJob("t", {"n": n}, tags=["many"]) for n in range(250))
    large = await client.submit("t", {"text": LARGE})
    await complete(gateway, [large], LARGE)
    assert [job.id async for job in client.iterate(tag="many")] == [job.id for job in reversed(batch.jobs) if job]
    page = await client.list(size=3, type="t")
    assert (len(page.jobs), page.total, page.total_is_estimate) == (3, 251, False)
    following = await client.list(size=3, cursor=page.next_cursor, type="t")
    assert not {job.id for job in page.jobs} & {job.id for job in following.jobs}
    (listed,) = [job async for job in client.iterate(status=[Status.COMPLETED, "failed"])]
    assert listed.is_finished
    assert (await listed.result(timeout=10)) == LARGE  # which the list has left out
    assert [job async for job in client.iterate(batch=str(batch.id), created_from=datetime.now(UTC))] == []
    with pytest.raises(InvalidRequest, match="size"):
        await client.list(size=1000)


async def test_batches_are_all_or_the_good_ones(client: AsyncClient) -> None:
    jobs = [NewJob("t", {"n": 1}), NewJob("distriqueue.mine"), NewJob("t", {"n": 2})]
    with pytest.raises(InvalidRequest) as raised:
        await client.submit_many(jobs)
    assert [error["field"] for error in raised.value.errors] == ["jobs.1.type"]
    batch = await client.submit_many(jobs, partial=True, batch_name="some", max_concurrent=1)
    assert [job is None for job in batch.jobs] == [False, True, False]
    assert [(error["index"], error["field"]) for error in batch.errors] == [(1, "jobs.1.type")]
    assert batch.id is not None
    seen = await client.get_batch(batch.id)
    assert (seen.name, seen.total_jobs, seen.finished, seen.max_concurrent) == ("some", 2, False, 1)
    nothing = await client.submit_many(jobs[1:2], partial=True)
    assert (nothing.id, nothing.jobs) == (None, (None,))


async def test_errors_are_of_their_kind(client: AsyncClient) -> None:
    await client.submit("t", unique_key="u")
    with pytest.raises(Conflict, match="uniqueKey 'u'"):
        await client.submit("t", unique_key="u")
    with pytest.raises(NotFound):
        await client.get(uuid4())
    with pytest.raises(NotFound):
        await client.cancel(uuid4())
    with pytest.raises(InvalidRequest, match="maxRetries") as raised:
        await client.submit("t", max_retries=1000)
    assert raised.value.errors[0]["field"] == "maxRetries"


async def test_a_key_of_ones_own_counts_across_clients(gateway: RunningGateway, client: AsyncClient) -> None:
    first = await client.submit("t", {"n": 1}, idempotency_key="order 7")
    async with AsyncClient(gateway.url) as other:
        again = await other.submit("t", {"n": 1}, idempotency_key="order 7")
        with pytest.raises(IdempotencyKeyReused):
            await other.submit("t", {"n": 2}, idempotency_key="order 7")
    assert again == first


async def test_a_map_gives_results_in_order_and_stops_at_a_failure(
    gateway: RunningGateway, client: AsyncClient
) -> None:
    async def work(count: int) -> None:
        done = 0
        while done < count:
            for job in [job async for job in client.iterate(type="t", status=["pending", "queued"])]:
                assert job.snapshot is not None
                n = job.snapshot.payload["n"]
                await gateway.report(str(job.id), "running")
                if n == 13:
                    await gateway.report(str(job.id), "failed", errorMessage="thirteen", retryable=False)
                else:
                    await gateway.report(str(job.id), "completed", result=n)
                done += 1

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(work(120))
        payloads = ({"n": n} for n in range(120))
        mapped = client.map("t", payloads, return_exceptions=True, priority="high", tags=["m"])
        results = [result async for result in mapped]
    assert [n for n, result in enumerate(results) if isinstance(result, JobFailed)] == [13]
    assert [result for n, result in enumerate(results) if n != 13] == [n for n in range(120) if n != 13]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(work(20))
        mapped = client.map("t", [{"n": n} for n in range(20)])
        assert [await anext(mapped) for _ in range(13)] == list(range(13))
        with pytest.raises(JobFailed, match="thirteen"):
            await anext(mapped)


async def test_the_blocking_client_is_the_same(gateway: RunningGateway) -> None:
    loop = asyncio.get_running_loop()

    def use() -> None:
        with Client(gateway.url) as client:
            job = client.submit("t", {"n": 1})
            asyncio.run_coroutine_threadsafe(complete(gateway, [job], 5), loop).result(20)
            assert job.result(timeout=20) == 5
            told = [event.status for event in job.events()]
            assert (told[0], told[-1]) == (Status.PENDING, Status.COMPLETED)
            assert client.get(job) == job
            batch = client.submit_many([NewJob("t", {"n": n}) for n in range(3)])
            assert [each.cancel().status for each in batch.jobs if each] == [Status.CANCELLED] * 3
            assert client.get_batch(str(batch.id)).by_status == {"cancelled": 3}
            assert len(client.list(status="cancelled").jobs) == len(list(client.iterate(batch=str(batch.id)))) == 3
            assert_submitted(client, "t", {"n": 2}, times=1)
            for event in client.events(after=0):
                assert event.status is Status.PENDING
                break

    await asyncio.to_thread(use)


async def test_keys_are_sent_and_refusals_are_named(gateway: RunningGateway, stores: Stores) -> None:
    store = AccessStore(stores.database)
    reader, submitter = Token.new(), Token.new()
    await store.create(reader, NewKey("reader", frozenset({Scope.READ})), actor="cli")
    await store.create(submitter, NewKey("submitter", frozenset({Scope.READ, Scope.SUBMIT})), actor="cli")
    async with AsyncClient(gateway.url) as nobody:
        await until_guarded(nobody)
        with pytest.raises(Unauthorized):
            await nobody.submit("t")
    async with AsyncClient(gateway.url, api_key=reader.text) as client:
        with pytest.raises(Forbidden, match="submit"):
            await client.submit("t")
    async with AsyncClient(gateway.url, api_key=submitter.text) as client:
        job = await client.submit("t")
        with pytest.raises(ResultTimeout):
            await job.result(timeout=0.1)


async def until_guarded(client: AsyncClient) -> None:
    """Wait until the gateway has heard of the first key."""
    async with asyncio.timeout(10):
        while True:
            try:
                await client.list(size=1)
            except Unauthorized:
                return
            await asyncio.sleep(0.05)


async def test_hundreds_wait_at_once_over_one_stream(gateway: RunningGateway, client: AsyncClient) -> None:
    batch = await client.submit_many(NewJob("t", {"n": n}) for n in range(300))
    jobs: list[AsyncJob] = [job for job in batch.jobs if job is not None]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        waiting = [group.create_task(job.result()) for job in jobs]
        await complete(gateway, jobs)
    assert [each.result() for each in waiting] == [7] * 300
    assert gateway.parts.hub.clients == 1
