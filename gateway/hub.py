"""The event log's tail, read once per gateway and fanned out to every SSE client.

One ring of encoded events serves all clients, each with a cursor of its own: memory does not grow with clients. A
client that falls behind the ring is served from Postgres until it has caught up, a page at a time, as one that resumes
with `Last-Event-ID` is; one that takes no bytes at all is dropped by the response's send timeout.

What this gateway commits wakes the reader; the rest is found by looking, for a notification would make all commits wait
for each other. While there are no clients nothing is read.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson

from distriqueue.core.errors import InvalidRequest, StoreUnavailable
from distriqueue.store.events import Event, EventStore, EventTail

RING: Final = 5_000
READ: Final = 2_000
CHUNK: Final = 500
CATCHING_UP: Final = 4
"""Clients that read Postgres at once; others wait their turn."""
POLL_S: Final = 0.05
"""How often to look for what others commit."""
LINGER_S: Final = 10.0
"""So long after the last client the log is still followed, for the next one to begin at once."""
BUSY_PAUSE_S: Final = 0.01
"""Under load, let events gather this long between two reads."""
PAUSE_PER_CLIENT_S: Final = 90e-6
"""Or this long for each client, for each costs a write after each read: a thousand are told 11 times a second."""
START_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a client wants; empty means all."""

    job_id: UUID | None = None
    batch_id: UUID | None = None
    types: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()

    def wants(self, event: Event) -> bool:
        """Tell whether the event passes."""
        return (
            (self.job_id is None or event.job_id == self.job_id)
            and (self.batch_id is None or event.batch_id == self.batch_id)
            and (not self.types or event.type in self.types)
            and (not self.statuses or event.status in self.statuses)
        )


EVERYTHING: Final = EventFilter()


class Hub:
    """Follows the log and serves its clients."""

    def __init__(self, tail: EventTail, store: EventStore) -> None:
        self._tail = tail
        self._store = store
        self._ring: list[tuple[Event, bytes]] = []
        self._chunks: dict[tuple[int, EventFilter], tuple[int, bytes]] = {}
        """What clients got from the ring as it is: most have the same cursor, and many the same filter."""
        self._dropped_seq = 0
        """Every event up to here has left the ring, or was before it."""
        self._news = asyncio.Event()
        self.wake = asyncio.Event()
        """Set when there may be something to read."""
        self._ready = asyncio.Event()
        self._wanted_until_s = 0.0
        self.closed = asyncio.Event()
        """Set when the gateway is about to stop: streams end."""
        self._catching_up = asyncio.Semaphore(CATCHING_UP)
        self.clients = 0

    async def step(self) -> bool:
        """Read once, if anybody wants it; True when there is more to read at once, or a gap to wait out."""
        if not self.clients and time.monotonic() > self._wanted_until_s:
            if self._tail.cursor is not None:
                self._tail.forget()
                self._ready.clear()
                self._ring.clear()
                self._chunks.clear()
            return False
        events = await self._tail.read(READ)
        if self._tail.cursor is not None and not self._ready.is_set():
            self._dropped_seq = self._tail.cursor
            self._ready.set()
        if events:
            self._ring += [(event, encode(event)) for event in events]
            if len(self._ring) > 2 * RING:
                self._dropped_seq = self._ring[-RING - 1][0].seq
                del self._ring[:-RING]
            self._announce()
        if events or self._tail.waits_for_gap or not self._ready.is_set():
            await asyncio.sleep(max(BUSY_PAUSE_S, self.clients * PAUSE_PER_CLIENT_S))
            return True
        return False

    def committed(self) -> None:
        """There are new events, by this gateway's own doing."""
        if self.clients:
            self.wake.set()

    def close(self) -> None:
        """End every client's stream."""
        self.closed.set()
        self._announce()

    async def follow(self, last_event_id: int | None, wanted: EventFilter) -> AsyncIterator[bytes]:
        """Yield encoded events: `connected`, then all after `last_event_id` (or from now), each once, in order.

        Ends when the gateway stops. StoreUnavailable, before the first event, while the log cannot be read.
        """
        await self.ready()
        self.clients += 1
        try:
            cursor = self._cursor if last_event_id is None else last_event_id
            yield _frame("connected", orjson.dumps({"lastEventId": str(cursor)}), cursor)
            if last_event_id is not None and not await self._resumable(last_event_id):
                cursor, chunk = self._reset()
                yield chunk
            while not self.closed.is_set():
                news = self._news
                if cursor < self._dropped_seq:
                    cursor, chunk = await self._from_store(cursor, wanted)
                else:
                    cursor, chunk = self._from_ring(cursor, wanted)
                if chunk:
                    yield chunk
                elif cursor >= self._cursor:
                    await news.wait()
        finally:
            self.clients -= 1
            self._linger()

    async def _from_store(self, cursor: int, wanted: EventFilter) -> tuple[int, bytes]:
        until = self._dropped_seq
        async with self._catching_up:
            page = await self._store.between(cursor, until, CHUNK)
            if cursor < await self._store.floor():  # retention overtook this client
                return self._reset()
        return (
            page[-1].seq if len(page) == CHUNK else until,
            b"".join(encode(event) for event in page if wanted.wants(event)),
        )

    def _reset(self) -> tuple[int, bytes]:
        reason = {"reason": "events after this id are no longer kept"}
        return self._cursor, _frame("reset", orjson.dumps(reason), self._cursor)

    def _from_ring(self, cursor: int, wanted: EventFilter) -> tuple[int, bytes]:
        found = self._chunks.get((cursor, wanted))
        if found is None:
            found = self._chunks[cursor, wanted] = self._chunk(cursor, wanted)
        return found

    def _chunk(self, cursor: int, wanted: EventFilter) -> tuple[int, bytes]:
        start = bisect_right(self._ring, cursor, key=lambda entry: entry[0].seq)
        entries = self._ring[start : start + CHUNK]
        if not entries:
            return cursor, b""
        return (
            entries[-1][0].seq,
            b"".join(frame for event, frame in entries if wanted is EVERYTHING or wanted.wants(event)),
        )

    @property
    def _cursor(self) -> int:
        return self._ring[-1][0].seq if self._ring else self._dropped_seq

    async def ready(self) -> None:
        """Wait until the log's end is known; StoreUnavailable when that takes too long."""
        self._linger()
        if not self._ready.is_set():
            self.wake.set()
        try:
            async with asyncio.timeout(START_S):
                await self._ready.wait()
        except TimeoutError:
            raise StoreUnavailable("the event log cannot be read yet") from None

    def _linger(self) -> None:
        self._wanted_until_s = time.monotonic() + LINGER_S

    async def _resumable(self, last_event_id: int) -> bool:
        if last_event_id > self._cursor:
            # Another gateway may be ahead of this one, but not by an id that was never given out.
            return last_event_id <= await self._store.newest()
        return last_event_id >= await self._store.floor()

    def _announce(self) -> None:
        self._chunks.clear()
        news, self._news = self._news, asyncio.Event()
        news.set()


def parse_event_id(text: str | None) -> int | None:
    """Read a `Last-Event-ID`; InvalidRequest when it is not one of ours."""
    if text is None or not text.strip():
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(
            "Last-Event-ID is not an event id of this server",
            errors=[{"field": "Last-Event-ID", "message": f"expected a whole number, got {text[:40]!r}"}],
        )
    return int(text)


def encode(event: Event) -> bytes:
    """Return one event as SSE bytes."""
    return _frame(
        "job-update",
        orjson.dumps(
            {
                "jobId": str(event.job_id),
                "status": event.status,
                "type": event.type,
                "priority": event.priority,
                "attempt": event.attempt,
                "workerId": event.worker_id,
                "progress": event.progress,
                "progressMessage": event.message,
                "batchId": None if event.batch_id is None else str(event.batch_id),
                "timestamp": event.at,
            },
            option=orjson.OPT_UTC_Z,
        ),
        event.seq,
    )


def _frame(name: str, data: bytes, event_id: int) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event_id, name.encode(), data)
