"""How jobs wait: one stream for all of a type, and the truth by GET."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from distriqueue.core.errors import DistriQueueError, Forbidden
from distriqueue.sdk.async_job import AsyncJob
from distriqueue.sdk.errors import GatewayUnreachable, JobCancelled, JobFailed, JobTimedOut, ResultTimeout
from distriqueue.sdk.handle import Seen
from distriqueue.sdk.models import JobSnapshot, read
from distriqueue.sdk.session import Session
from tests.unit.sdk.fakes import FakeGateway, until

LOST = GatewayUnreachable("reset", retry_after_s=0.0)


@pytest.fixture
async def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
async def session(gateway: FakeGateway) -> AsyncIterator[Session]:
    session = gateway.session(retry_for_s=1.0)
    async with session:
        yield session


def job_of(session: Session, gateway: FakeGateway, *, type_: str = "t") -> AsyncJob:
    job_id = uuid4()
    gateway.add(job_id, type_=type_)
    return AsyncJob(session, Seen(job_id, type_))


async def until_read(gateway: FakeGateway, job_id: UUID) -> None:
    """Wait until the job was read for the first time."""
    await until(lambda: ("GET", f"/api/jobs/{job_id}") in gateway.calls)


async def test_a_result_comes_when_the_stream_says_look(gateway: FakeGateway, session: Session) -> None:
    job = job_of(session, gateway)
    gateway.say("connected")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(job.result())
        await until_read(gateway, job.id)
        gateway.end(job.id, result={"n": 1})
    assert waiting.result() == {"n": 1}
    assert gateway.calls.count(("GET", f"/api/jobs/{job.id}")) == 2
    assert await job.result() == {"n": 1}
    assert len(gateway.calls) == 2  # what has ended is known


async def test_what_ended_before_the_stream_began_is_found(gateway: FakeGateway, session: Session) -> None:
    job = job_of(session, gateway)
    gateway.end(job.id, result=5, tells=False)
    gateway.say("connected")
    assert await job.result(timeout=5) == 5


async def test_what_ended_in_a_gap_is_found(gateway: FakeGateway, session: Session) -> None:
    job = job_of(session, gateway)
    gateway.say("connected")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(job.result())
        await until_read(gateway, job.id)
        gateway.end(job.id, result=5, tells=False)
        gateway.say("reset", reason="retention")
    assert waiting.result() == 5


async def test_a_job_that_was_retried_meanwhile_is_waited_for(gateway: FakeGateway, session: Session) -> None:
    job = job_of(session, gateway)
    gateway.say("connected")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(job.result())
        await until_read(gateway, job.id)
        gateway.tell(job.id, "failed")  # and somebody has retried it: it is pending
        gateway.end(job.id, result=5)
    assert waiting.result() == 5


@pytest.mark.parametrize(
    ("status", "error"), [("failed", JobFailed), ("timeout", JobTimedOut), ("cancelled", JobCancelled)]
)
async def test_an_end_without_a_result_is_raised(
    gateway: FakeGateway, session: Session, status: str, error: type[Exception]
) -> None:
    job = job_of(session, gateway)
    gateway.end(job.id, status, tells=False, error={"message": "no", "type": "OSError", "traceback": "…"})
    gateway.say("connected")
    with pytest.raises(error, match="OSError: no") as raised:
        await job.result(timeout=5)
    assert vars(raised.value) | {"job_id": job.id, "error_type": "OSError", "traceback": "…"} == vars(raised.value)


async def test_a_wait_ends_in_time_and_the_job_can_be_waited_for_again(gateway: FakeGateway, session: Session) -> None:
    job = job_of(session, gateway)
    gateway.say("connected")
    with pytest.raises(ResultTimeout, match=r"has not ended within 0\.05 s"):
        await job.result(timeout=0.05)
    gateway.end(job.id, result=1)
    assert await job.result(timeout=5) == 1


async def test_many_share_a_stream_and_types_do_not(gateway: FakeGateway, session: Session) -> None:
    jobs = [job_of(session, gateway) for _ in range(50)]
    gateway.say("connected")
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(job.result()) for job in jobs]
        for job in jobs:
            await until_read(gateway, job.id)
        for n, job in enumerate(jobs):
            gateway.end(job.id, result=n)
    assert [each.result() for each in waiting] == list(range(50))
    assert len(gateway.streams) == 1
    assert gateway.queries == [{"status": ["cancelled", "completed", "failed", "timeout"], "type": "t"}]


async def test_a_type_that_the_gateway_would_take_for_two_is_sorted_out_here(
    gateway: FakeGateway, session: Session
) -> None:
    job = job_of(session, gateway, type_="a, b")
    gateway.end(job.id, result=1, tells=False)
    gateway.say("connected")
    assert await job.result(timeout=5) == 1
    assert "type" not in gateway.queries[0]


async def test_a_stream_that_cannot_be_had_is_told_to_all_and_opened_again_for_the_next(
    gateway: FakeGateway, session: Session
) -> None:
    jobs = [job_of(session, gateway) for _ in range(2)]
    gateway.pieces.put_nowait(Forbidden("scope read"))
    ends = await asyncio.gather(*(job.result() for job in jobs), return_exceptions=True)
    assert [type(end) for end in ends] == [Forbidden, Forbidden]
    gateway.say("connected")
    gateway.end(jobs[0].id, result=1, tells=False)
    assert await jobs[0].result(timeout=5) == 1


async def test_a_lost_gateway_ends_a_wait_that_goes_on(gateway: FakeGateway, session: Session) -> None:
    job = job_of(session, gateway)
    gateway.say("connected")
    for _ in range(50):
        gateway.pieces.put_nowait(LOST)
    with pytest.raises(GatewayUnreachable):
        await job.result()


async def test_a_listed_job_is_read_for_its_result(gateway: FakeGateway, session: Session) -> None:
    job_id = uuid4()
    gateway.add(job_id)
    gateway.end(job_id, result="x" * 10_000, tells=False)
    brief = read(JobSnapshot, gateway.jobs[str(job_id)] | {"result": None})
    gateway.say("connected")
    job = AsyncJob(session, Seen(job_id, "t", brief, is_whole=False))
    assert job.is_finished
    assert await job.result(timeout=5) == "x" * 10_000


async def test_a_client_that_is_closed_lets_nobody_wait(gateway: FakeGateway) -> None:
    job_id = uuid4()
    gateway.add(job_id)
    gateway.say("connected")
    ends: list[str] = []

    async def wait(session: Session) -> None:
        try:
            await AsyncJob(session, Seen(job_id, "t")).wait(5)
        except DistriQueueError as exc:
            ends.append(exc.message)

    async with asyncio.TaskGroup() as group, gateway.session() as session:
        group.create_task(wait(session))
        await until_read(gateway, job_id)
    assert ends == ["the client was closed"]


async def test_a_client_that_was_not_opened_says_so(gateway: FakeGateway) -> None:
    with pytest.raises(DistriQueueError, match="async with"):
        await job_of(gateway.session(), gateway).result()


async def test_a_stream_ends_some_time_after_the_last_who_needs_it(
    gateway: FakeGateway, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.ends, "_linger_s", 0.01)
    for _ in range(2):
        job = job_of(session, gateway)
        gateway.end(job.id, result=1, tells=False)
        gateway.say("connected")
        await job.result(timeout=5)
        await until(lambda: not session.background.count)
    assert len(gateway.streams) == 2
