"""When the hub reads the log, and when it leaves it alone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest

from distriqueue.store.events import Event
from gateway import hub as hub_module
from gateway.hub import EVERYTHING, Hub


def event(seq: int) -> Event:
    return Event(seq, datetime.now(UTC), uuid4(), 1, "pending", "add", "LOW", None, None, None, None)


class Tail:
    """A log of which the test says where it ends."""

    def __init__(self) -> None:
        self.end = 10
        self.cursor: int | None = None
        self.waits_for_gap = False
        self.reads = 0

    def forget(self) -> None:
        self.cursor = None

    async def read(self, _limit: int) -> list[Event]:
        self.reads += 1
        if self.cursor is None:
            self.cursor = self.end
            return []
        events = [event(seq) for seq in range(self.cursor + 1, self.end + 1)]
        self.cursor = self.end
        return events


@pytest.fixture
def tail() -> Tail:
    return Tail()


@pytest.fixture
def hub(tail: Tail, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(hub_module, "BUSY_PAUSE_S", 0.0)
    return Hub(cast("Any", tail), cast("Any", None))


async def following(stream: AsyncIterator[bytes]) -> bytes:
    return await anext(stream)


async def first(stream: AsyncIterator[bytes], hub: Hub) -> bytes:
    """Return a stream's next chunk, the hub reading meanwhile."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        chunk: asyncio.Task[bytes] = group.create_task(following(stream))
        while not chunk.done():
            await hub.step()
            await asyncio.sleep(0)
    return chunk.result()


async def test_without_clients_nothing_is_read(hub: Hub, tail: Tail) -> None:
    hub.committed()
    assert not hub.wake.is_set()
    assert [await hub.step() for _ in range(3)] == [False] * 3
    assert tail.reads == 0


async def test_a_client_wakes_the_reader_and_gets_all_from_its_connection_on(hub: Hub, tail: Tail) -> None:
    stream = hub.follow(None, EVERYTHING)
    assert b"id: 10\nevent: connected" in await first(stream, hub)
    assert hub.wake.is_set()
    tail.end = 12
    assert (await first(stream, hub)).count(b"event: job-update") == 2
    hub.wake.clear()
    hub.committed()
    assert hub.wake.is_set()


async def test_after_the_last_client_the_log_is_left_and_the_next_one_begins_at_its_end(hub: Hub, tail: Tail) -> None:
    stream = hub.follow(None, EVERYTHING)
    await first(stream, hub)
    hub._wanted_until_s = 0.0
    await cast("Any", stream).aclose()
    reads = tail.reads
    await hub.step()
    assert tail.reads == reads + 1, "the next client may come at once"
    hub._wanted_until_s = 0.0
    assert await hub.step() is False
    assert tail.cursor is None
    tail.end = 50
    again = hub.follow(None, EVERYTHING)
    assert b"id: 50\nevent: connected" in await first(again, hub)
    tail.end = 51
    assert b"id: 51\n" in await first(again, hub)
