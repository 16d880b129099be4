"""A map's jobs: each result once and in order, whatever the stream says how often."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from distriqueue.core.errors import DistriQueueError, Forbidden, InvalidRequest
from distriqueue.sdk.errors import JobFailed, ResultTimeout
from distriqueue.sdk.mapping import CHUNK, FEW, MapRun, checked
from distriqueue.sdk.session import Session
from tests.unit.sdk.fakes import FakeGateway, until


@pytest.fixture
async def gateway() -> FakeGateway:
    gateway = FakeGateway()
    gateway.say("connected")
    return gateway


@pytest.fixture
async def session(gateway: FakeGateway) -> AsyncIterator[Session]:
    session = gateway.session(retry_for_s=1.0)
    async with session:
        yield session


def run_of(
    session: Session, *, in_flight: int = 1000, timeout_s: float | None = 10.0, tick: Callable[[], None] = lambda: None
) -> MapRun:
    return MapRun(session, "t", {"tags": ["a"]}, in_flight=in_flight, timeout_s=timeout_s, tick=tick)


async def submitted(run: MapRun, gateway: FakeGateway, count: int) -> list[str]:
    """Submit payloads, and return the ids of their jobs in order once they are stored."""
    for start in range(0, count, CHUNK):
        await run.submit([{"n": n} for n in range(start, min(start + CHUNK, count))])
    await until(lambda: len(gateway.jobs) == count)
    jobs = sorted(gateway.jobs.values(), key=lambda job: job["payload"]["n"])
    return [job["id"] for job in jobs]


async def take_all(run: MapRun) -> list[Any]:
    results: list[Any] = []
    while taken := await run.take():
        results += taken
    return results


async def test_results_come_in_order_whatever_the_order_of_the_ends(gateway: FakeGateway, session: Session) -> None:
    ticks: list[int] = []
    async with run_of(session, tick=lambda: ticks.append(1)) as run:
        ids = await submitted(run, gateway, 350)
        order = list(enumerate(ids))
        random.Random(3).shuffle(order)
        for n, job_id in order:
            gateway.end(job_id, result=n)
        assert await take_all(run) == list(range(350))
    assert len(ticks) == 350
    assert len(gateway.streams) == 1
    assert gateway.calls.count(("POST", "/api/jobs/batch")) == 4


async def test_an_end_that_is_told_twice_counts_once(gateway: FakeGateway, session: Session) -> None:
    ticks: list[int] = []
    async with run_of(session, tick=lambda: ticks.append(1)) as run:
        ids = await submitted(run, gateway, 3)
        for _ in range(3):
            for n, job_id in enumerate(ids):
                gateway.end(job_id, result=n)
                await asyncio.sleep(0)
        assert await take_all(run) == [0, 1, 2]
        for job_id in ids:
            gateway.end(job_id, result=9)
        await asyncio.sleep(0.01)
        assert await run.take() == []
    assert len(ticks) == 3


async def test_what_ended_in_a_gap_is_looked_up(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session) as run:
        ids = await submitted(run, gateway, 250)
        for n, job_id in enumerate(ids):
            gateway.end(job_id, result=n, tells=False)
        gateway.say("reset", reason="retention")
        assert await take_all(run) == list(range(250))


async def test_what_ended_before_its_batch_was_answered_is_not_missed(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session) as run:
        gateway.holds_posts.clear()
        await run.submit([{"n": 0}])
        (chosen,) = run._chunks
        gateway.add(chosen)
        gateway.end(chosen, result=7)
        await asyncio.sleep(0.01)
        assert gateway.calls == [("POST", "/api/jobs/batch")]  # nobody asks for what may not be stored yet
        gateway.holds_posts.set()
        assert await take_all(run) == [7]


async def test_many_ends_of_a_batch_are_read_together(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session) as run:
        ids = await submitted(run, gateway, CHUNK)
        gateway.calls.clear()
        for n, job_id in enumerate(ids):
            gateway.jobs[job_id] |= {"status": "completed", "result": n}
        for job_id in ids:
            gateway.tell(job_id, "completed")
        assert await take_all(run) == list(range(CHUNK))
    assert 1 <= len(gateway.calls) <= FEW + 2


async def test_results_that_a_list_leaves_out_are_read_one_by_one(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session) as run:
        ids = await submitted(run, gateway, CHUNK)
        for n, job_id in enumerate(ids):
            gateway.end(job_id, result=None if n % 2 else "x" * n, large=not n % 2)
        gateway.calls.clear()
        assert await take_all(run) == [None if n % 2 else "x" * n for n in range(CHUNK)]
    read_alone = {path for _, path in gateway.calls if path.startswith("/api/jobs/")}
    assert {f"/api/jobs/{job_id}" for job_id in ids[::2]} <= read_alone
    # Those few that were heard of alone are read alone, too; that a result is nothing is no reason to.
    assert len(read_alone) <= CHUNK // 2 + FEW


async def test_a_job_that_did_not_complete_is_its_error_in_its_turn(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session) as run:
        ids = await submitted(run, gateway, 3)
        gateway.end(ids[1], "failed", error={"message": "no"})
        gateway.end(ids[0], result=0)
        gateway.end(ids[2], result=2)
        first, second, third = await take_all(run)
    assert (first, third) == (0, 2)
    assert checked(second, return_exceptions=True) is second
    with pytest.raises(JobFailed, match="no"):
        checked(second, return_exceptions=False)


async def test_a_retried_end_is_none(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session) as run:
        (job_id,) = await submitted(run, gateway, 1)
        gateway.tell(job_id, "failed")
        await asyncio.sleep(0.01)
        gateway.end(job_id, result=1)
        assert await take_all(run) == [1]


async def test_room_is_bounded_by_what_was_not_taken(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session, in_flight=2 * CHUNK) as run:
        ids = await submitted(run, gateway, 2 * CHUNK)
        assert not run.has_room
        for job_id in ids[1:]:
            gateway.end(job_id, result=0)
        await asyncio.sleep(0.05)
        assert not run.has_room  # the first is still to come
        gateway.end(ids[0], result=0)
        await run.take()
        assert run.has_room


async def test_the_smallest_bound_is_a_batch(session: Session) -> None:
    async with run_of(session, in_flight=1) as run:
        assert run.has_room


async def test_the_time_in_all_ends(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session, timeout_s=0.1) as run:
        await submitted(run, gateway, 2)
        with pytest.raises(ResultTimeout, match=r"2 jobs on their way have not all ended within 0\.1 s"):
            await run.take()


async def test_a_wrong_payload_is_named_by_its_number(session: Session) -> None:
    async with run_of(session) as run:
        await run.submit([{"n": 1}] * 5)
        with pytest.raises(InvalidRequest, match="payload 7: payload: must be an object"):
            await run.submit([{"n": 1}, {"n": 1}, 5])


async def test_what_makes_going_on_impossible_is_raised_after_what_is_there(
    gateway: FakeGateway, session: Session
) -> None:
    async with run_of(session) as run:
        ids = await submitted(run, gateway, 3)
        gateway.end(ids[0], result=0)
        assert await run.take() == [0]
        gateway.pieces.put_nowait(Forbidden("revoked"))
        with pytest.raises(Forbidden):
            await run.take()


async def test_leaving_it_ends_all_that_it_began(gateway: FakeGateway, session: Session) -> None:
    async with run_of(session) as run:
        gateway.holds_posts.clear()
        await run.submit([{"n": 1}])
    await asyncio.sleep(0.01)
    assert session.background.count == 1  # the stream, for the next one
    with pytest.raises(DistriQueueError):
        await run_of(session).submit([{}])
