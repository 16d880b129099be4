"""The log of transitions, read in order and without loss while many processes append to it.

A sequence number is drawn before its transaction commits, so a reader may see 11 before 10 is there. A gap is waited
out: once every transaction that ran when the gap was first seen has ended, what is still missing was rolled back.
(Writers draw numbers only after their first write, so each has a transaction id by then, and shows in the snapshot.)
For one job the order of numbers is the order of its transitions: they are drawn while its row is locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("events.sql")


@dataclass(frozen=True, slots=True)
class Event:
    """One transition of one job, or a step of its progress."""

    seq: int
    at: datetime
    job_id: UUID
    attempt: int
    status: str
    type: str
    priority: str
    worker_id: str | None
    progress: float | None
    message: str | None
    """What the handler said of its progress."""
    batch_id: UUID | None


@dataclass(frozen=True, slots=True)
class _Barrier:
    """Every number up to `seq` was drawn by a transaction below `xid`: when those have ended, none is to come."""

    seq: int
    xid: int


class EventTail:
    """Follows the log from its end: each event once, in order. One reader's state; not for concurrent use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._barrier: _Barrier | None = None
        self.cursor: int | None = None
        """Everything up to here was read; None until the start is settled."""
        self.waits_for_gap = False
        """The last read stopped before a number whose transaction may still commit: read again soon."""

    def forget(self) -> None:
        """Leave the log: the next reads settle where it ends by then."""
        self.cursor = self._barrier = None

    async def read(self, limit: int) -> list[Event]:
        """Return the next events, at most `limit`; the first calls settle where the log ends, and return none."""
        if self.cursor is None:
            await self._settle()
            return []
        rows = await self._database.fetch(SQL["after"], self.cursor, limit)
        events = self._advance(self.cursor, rows)
        if self.waits_for_gap and self._barrier is None:
            self._barrier = await self._raise_barrier(rows[-1]["seq"])
        return events

    async def _settle(self) -> None:
        row = (await self._database.fetch(SQL["newest"]))[0]
        if self._barrier is None:
            self._barrier = await self._raise_barrier(row["seq"])
        elif row["xmin"] >= self._barrier.xid:
            self.cursor = self._barrier.seq
        self.waits_for_gap = self.cursor is None

    async def _raise_barrier(self, seq: int) -> _Barrier:
        return _Barrier(seq, (await self._database.fetch(SQL["next_xid"]))[0][0])

    def _advance(self, cursor: int, rows: Sequence[Any]) -> list[Event]:
        settled = self._barrier.seq if self._barrier and rows[0]["xmin"] >= self._barrier.xid else 0
        self.waits_for_gap = False
        events: list[Event] = []
        for row in rows:
            seq = row["seq"]
            if seq is None:
                break
            if seq != cursor + 1 and seq - 1 > settled:
                self.waits_for_gap = True
                break
            cursor = seq
            events.append(_event(row))
        self.cursor = cursor
        if self._barrier is not None and cursor >= self._barrier.seq:
            self._barrier = None
        return events


class EventStore:
    """Reads of the past: for clients that resume, and a job's timeline."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def between(self, after: int, until: int, limit: int) -> list[Event]:
        """Return events with `after < seq ≤ until`, oldest first; `until` must be behind an EventTail's cursor."""
        return [_event(row) for row in await self._database.fetch(SQL["between"], after, until, limit)]

    async def floor(self) -> int:
        """Return the highest number that retention may have deleted: a cursor below it cannot be resumed."""
        rows = await self._database.fetch(SQL["floor"])
        return int(rows[0]["seq"])

    async def newest(self) -> int:
        """Return a number that no event exceeds yet, as this instant sees it."""
        rows = await self._database.fetch(SQL["newest"])
        return int(rows[0]["seq"])

    async def of_job(self, job_id: UUID, limit: int = 1000, *, after: int = 0) -> list[Event]:
        """Return a job's transitions and steps of progress after that number, oldest first."""
        return [_event(row) for row in await self._database.fetch(SQL["of_job"], job_id, after, limit)]


def _event(row: Any) -> Event:
    return Event(
        row["seq"],
        row["at"],
        row["job_id"],
        row["attempt"],
        row["status"],
        row["type"],
        row["priority"],
        row["worker_id"],
        row["progress"],
        row["message"],
        row["batch_id"],
    )
