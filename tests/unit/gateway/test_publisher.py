"""What the publisher sends, marks, and leaves to the dispatcher."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from distriqueue.core.errors import StoreUnavailable
from distriqueue.core.job import JobId, Priority, new_job_id
from distriqueue.core.messages import Dispatch
from gateway.publisher import Publisher


def dispatch() -> Dispatch:
    return Dispatch(new_job_id(), 1, "add", Priority.LOW, {}, 1.0)


class Broker:
    """Takes what it is told to take."""

    def __init__(self) -> None:
        self.refused: set[JobId] = set()
        self.sent: list[JobId] = []
        self.published = asyncio.Event()

    async def publish(self, dispatches: Sequence[Dispatch]) -> list[bool]:
        self.sent += [each.job_id for each in dispatches]
        self.published.set()
        return [each.job_id not in self.refused for each in dispatches]


class Store:
    """Remembers marks; fails when told to."""

    def __init__(self) -> None:
        self.marked: list[JobId] = []
        self.failures = 0
        self.asked = asyncio.Event()

    async def mark_queued(self, sent: Sequence[Dispatch]) -> int:
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        self.marked += [each.job_id for each in sent]
        return len(sent)


class Routing:
    """No lane rests."""

    async def fresh(self) -> "Routing":
        return self

    def open(self, dispatches: list[Dispatch]) -> list[Dispatch]:
        return dispatches


@asynccontextmanager
async def running(broker: Broker, store: Store, *, mark_after_s: float) -> AsyncIterator[Publisher]:
    publisher = Publisher(cast("Any", broker), cast("Any", store), cast("Any", Routing()), mark_after_s=mark_after_s)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(publisher.run())
        yield publisher
        publisher.stop()


async def test_a_mark_comes_late_and_not_at_all_before() -> None:
    broker, store = Broker(), Store()
    loop = asyncio.get_running_loop()
    first, second = dispatch(), dispatch()
    async with running(broker, store, mark_after_s=0.1) as publisher:
        sent_at_s = loop.time()
        publisher.offer([first, second])
        await broker.published.wait()
        assert store.marked == []
        await store.asked.wait()
        assert loop.time() - sent_at_s >= 0.1
    assert store.marked == [first.job_id, second.job_id]


async def test_at_a_stop_nothing_is_waited_for() -> None:
    broker, store = Broker(), Store()
    jobs = [dispatch() for _ in range(1_200)]
    began_s = asyncio.get_running_loop().time()
    async with running(broker, store, mark_after_s=60.0) as publisher:
        publisher.offer(jobs)
    assert asyncio.get_running_loop().time() - began_s < 5.0
    assert broker.sent == store.marked == [each.job_id for each in jobs]


async def test_what_the_broker_does_not_hold_is_left_and_never_marked() -> None:
    broker, store = Broker(), Store()
    held, lost = dispatch(), dispatch()
    broker.refused = {lost.job_id}
    async with running(broker, store, mark_after_s=0.0) as publisher:
        publisher.offer([held, lost])
        await store.asked.wait()
    assert store.marked == [held.job_id]
    assert publisher.left_to_dispatcher == 1


async def test_a_mark_that_fails_is_given_up_and_the_next_one_is_made() -> None:
    broker, store = Broker(), Store()
    store.failures = 1
    unmarked, marked = dispatch(), dispatch()
    async with running(broker, store, mark_after_s=0.0) as publisher:
        publisher.offer([unmarked])
        await store.asked.wait()
        publisher.offer([marked])
    assert store.marked == [marked.job_id]
