"""What the leader does to jobs: finds what no gateway sent or a broker lost, wakes what is due, ends what is overdue.

Every write is fenced: it raises Fenced, and nothing of it counts, when a newer leader has claimed. All due times are
the database's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from distriqueue.core.job import MAX_LOSSES, JobId, Priority
from distriqueue.core.messages import Dispatch
from distriqueue.core.states import Status
from distriqueue.store.database import Database
from distriqueue.store.followups import admit, follow_up
from distriqueue.store.rows import dispatch_of
from distriqueue.store.statements import load

SQL: Final = load("duties.sql")
_LANES: Final = [lane.value for lane in Priority]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a lane a batch ended."""

    ready_at: datetime
    id: UUID


LOOKED_AT: Final = 5_000
"""Most jobs of a lane that are looked at one by one: some ten milliseconds."""
START: Final = Place(datetime.min.replace(tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Stranded:
    """A job that waits for a dispatch which no gateway made, and its place."""

    dispatch: Dispatch
    place: Place
    is_held: bool = False
    """Its lane rests, by a rule: it is here only for its place."""
    goes_on: bool = False
    """No more of the lane were looked at, and there may be more."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """How many jobs a batch moved on, and what is pending now."""

    jobs: int
    ready: list[Dispatch]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that the leader ended, and what became of its job."""

    job_id: JobId
    attempt: int
    worker_id: str
    status: Status


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one transaction of the reaper did."""

    silent: Sequence[str]
    """Workers that became unresponsive."""
    lost: Sequence[Ended]
    overdue: Sequence[Ended]
    ready: Sequence[Dispatch] = ()
    """What became pending by that."""


class DutyStore:
    """The statements behind the dispatcher, the reconciler, the scheduler and the reaper."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stranded(self, after: Mapping[Priority, Place], *, older_than_s: float, limit: int) -> list[Stranded]:
        """Return pending jobs, the most urgent lane first, each lane from its place on.

        Of a lane some of whose jobs are held back, at most LOOKED_AT are looked at; the last is marked, also if held.
        """
        places = [after.get(lane, START) for lane in Priority]
        rows = await self._database.fetch(
            SQL["stranded"],
            _LANES,
            [place.ready_at for place in places],
            [place.id for place in places],
            older_than_s,
            limit,
            LOOKED_AT,
        )
        return [
            Stranded(dispatch_of(row), Place(row["ready_at"], row["id"]), not row["is_open"], row["goes_on"])
            for row in rows
        ]

    async def queued_before(self, *, older_than_s: float) -> datetime | None:
        """Return the moment so long ago if a job has been queued since before it, else None."""
        rows = await self._database.fetch(SQL["queued_before"], older_than_s, _LANES)
        return rows[0]["at"] if rows else None

    async def take_back(
        self, lanes: Collection[Priority], *, queued_before: datetime, limit: int, epoch: int
    ) -> list[Dispatch]:
        """Make jobs `pending` again that were queued in these lanes before then; return them, the oldest first."""
        names = [lane.value for lane in lanes]
        async with self._database.transaction(epoch=epoch) as connection:
            rows = await connection.fetch(SQL["take_back"], names, queued_before, _LANES, limit)
        return [dispatch_of(row) for row in sorted(rows, key=lambda row: (row["n"], row["queued_at"]))]

    async def next_due_s(self) -> float | None:
        """Return in how many seconds the next job is due (≤ 0: now), None when none waits for a time."""
        rows = await self._database.fetch(SQL["next_due"])
        in_s: float | None = rows[0]["in_s"]
        return in_s

    async def promote(self, *, limit: int, epoch: int) -> Promoted:
        """Make jobs that are due `pending`, a retry as its next attempt, or `blocked` while their key has no slot."""
        async with self._database.transaction(epoch=epoch) as connection:
            rows = await connection.fetch(SQL["promote"], limit)
            ready = [dispatch_of(row) for row in rows if row["concurrency_key"] is None]
            ready += await admit(connection, [row["concurrency_key"] for row in rows])
        return Promoted(len(rows), ready)

    async def next_expiry_s(self) -> float | None:
        """Return in how many seconds the next job that has not started expires (≤ 0: now), None when none will."""
        rows = await self._database.fetch(SQL["next_expiry"])
        in_s: float | None = rows[0]["in_s"]
        return in_s

    async def expire(self, *, limit: int, epoch: int) -> Promoted:
        """End what was to have started by now as `timeout`; return how many, and what became pending by that."""
        async with self._database.transaction(epoch=epoch) as connection:
            rows = await connection.fetch(SQL["expire"], limit)
            return Promoted(len(rows), await follow_up(connection, [row["id"] for row in rows if row["followed"]]))

    async def follow_up(self, *, limit: int, epoch: int) -> Promoted:
        """Go on with what follow_up has left over."""
        async with self._database.transaction(epoch=epoch) as connection:
            rows = await connection.fetch(SQL["left_over"], limit)
            ready = await follow_up(connection, [row["job_id"] for row in rows], children_only=True)
        return Promoted(len(rows), ready)

    async def admit(self, after: str, *, limit: int, epoch: int) -> tuple[str | None, list[Dispatch]]:
        """Look for free slots of keys that someone waits for, `limit` keys from `after` on; return where to go on."""
        async with self._database.transaction(epoch=epoch) as connection:
            keys = [row["concurrency_key"] for row in await connection.fetch(SQL["keys_in_line"], after, limit)]
            ready = await admit(connection, keys)
        return (keys[-1] if len(keys) == limit else None), ready

    async def reap(
        self, *, recorded_at: datetime, silence_s: float, unheard_s: float, grace_s: float, limit: int, epoch: int
    ) -> Reaped:
        """End what runs on silent, stopped and unknown workers, and what runs too long; one transaction.

        Workers are silent by `recorded_at`, up to which heartbeats were recorded without a gap, and not by now: this
        process may have been away since. `unheard_s` more are given to a worker that was never heard at all.
        """
        async with self._database.transaction(epoch=epoch) as connection:
            silent = await connection.fetch(SQL["silence"], recorded_at, silence_s, limit)
            lost = await connection.fetch(SQL["lost"], recorded_at, silence_s, unheard_s, MAX_LOSSES, limit)
            overdue = await connection.fetch(SQL["overdue"], recorded_at, silence_s, grace_s, limit)
            ready = await follow_up(connection, [row["id"] for row in (*lost, *overdue) if row["followed"]])
        return Reaped(
            [row["id"] for row in silent], [_ended(row) for row in lost], [_ended(row) for row in overdue], ready
        )


def _ended(row: Any) -> Ended:
    return Ended(JobId(row["id"]), row["attempt"], row["worker_id"], Status(row["status"]))
