"""The event log, read while others append to it."""

import asyncio

from distriqueue.store.events import Event, EventTail
from tests.integration.conftest import Stores, new_job


async def settled(stores: Stores) -> EventTail:
    tail = EventTail(stores.database)
    await settle(tail)
    return tail


async def settle(tail: EventTail) -> None:
    async with asyncio.timeout(10):
        while tail.cursor is None:
            await tail.read(10)


async def read_until(tail: EventTail, last: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(10):
        while not events or events[-1].seq < last:
            events += await tail.read(100)
    return events


async def newest(stores: Stores) -> int:
    return await stores.events.newest()


async def test_a_tail_starts_at_the_end_and_reads_each_event_once(stores: Stores) -> None:
    await stores.add(new_job())
    tail = await settled(stores)
    assert await tail.read(10) == []
    jobs = [new_job() for _ in range(5)]
    await stores.add(*jobs)
    assert {event.job_id for event in await tail.read(3)} | {event.job_id for event in await tail.read(3)} == {
        job.id for job in jobs
    }
    assert await tail.read(10) == []


async def test_a_number_whose_transaction_still_runs_is_waited_for(stores: Stores) -> None:
    tail = await settled(stores)
    slow, fast = new_job(), new_job()
    await stores.add(slow, fast)
    await read_until(tail, await newest(stores))
    async with stores.database.transaction() as connection:
        await connection.execute("UPDATE jobs SET status = 'queued' WHERE id = $1", slow.id)
        await stores.report(fast, "running")
        assert await tail.read(10) == []
        assert tail.waits_for_gap
    events = await tail.read(10)
    assert [(event.job_id, event.status) for event in events] == [(slow.id, "queued"), (fast.id, "running")]


async def test_a_number_that_was_rolled_back_is_skipped(stores: Stores) -> None:
    tail = await settled(stores)
    gone, stays = new_job(), new_job()
    await stores.add(gone, stays)
    await read_until(tail, await newest(stores))
    async with stores.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE jobs SET status = 'queued' WHERE id = $1", gone.id)
        await transaction.rollback()
    await stores.report(stays, "running")
    events = await read_until(tail, await newest(stores))
    assert [(event.job_id, event.status) for event in events] == [(stays.id, "running")]


async def test_a_tail_that_starts_while_a_transaction_runs_settles_behind_it(stores: Stores) -> None:
    job, other = new_job(), new_job()
    await stores.add(job, other)
    tail = EventTail(stores.database)
    async with stores.database.transaction() as connection:
        await connection.execute("UPDATE jobs SET status = 'queued' WHERE id = $1", job.id)
        await stores.report(other, "running")
        await tail.read(10)
        assert tail.cursor is None
    await settle(tail)
    assert tail.cursor == await newest(stores)


async def test_many_writers_leave_a_gap_free_and_ordered_history(stores: Stores) -> None:
    tail = await settled(stores)
    jobs = [new_job() for _ in range(200)]
    done = asyncio.Event()

    async def live(part: int) -> None:
        for job in jobs[part::4]:
            await stores.add(job)
            await stores.jobs.mark_queued([job.dispatch()])
            await stores.report(job, "running")
            await stores.report(job, "completed")

    async def follow() -> list[Event]:
        events: list[Event] = []
        async with asyncio.timeout(60):
            while True:
                finished = done.is_set()
                read = await tail.read(50)
                events += read
                if finished and not read and not tail.waits_for_gap:
                    return events

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        async with asyncio.TaskGroup() as writers:
            for part in range(4):
                writers.create_task(live(part))
        done.set()
    events = following.result()
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    for job in jobs:
        seen = [event.status for event in events if event.job_id == job.id]
        assert seen == ["pending", "queued", "running", "completed"]
