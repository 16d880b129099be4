"""Figures over all jobs at constant cost: the event log summed up by the hour, plus the events not summed up yet.

The roll-up reads the log in order up to a number below which none is to come (`Ceiling`; events.py on gaps), and moves
its cursor in the transaction that adds the sums. A reader adds the events after the cursor that the same instant sees,
so an answer is exact at once, wherever the roll-up stands, and a crash of it counts nothing twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("statistics.sql")
MAX_TAIL: Final = 100_000
"""Most events that a reader adds; when more wait for the roll-up, the answer is behind and says so."""
MAX_WORKERS: Final = 100
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""Not the least and greatest of all, which the driver takes for -infinity and infinity."""
RECENT_HOURS: Final = 24
"""Figures by hour and by worker, when no span is asked for, are of so many hours."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Every number up to `seq` was drawn by a transaction below `xid`: when those have ended, none is to come."""

    seq: int
    xid: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of one kind that jobs took, and their times by bucket: number n begins at bound n - 1."""

    status: str
    was: str | None
    """The status before; None for a new job."""
    priority: str
    is_webhook: bool
    took_bucket: int | None
    """Into running: of how long the job was ready before; out of it: of how long the attempt ran. None: neither."""
    total_bucket: int | None
    """Of the time from the job's creation, when it has ended and nobody cancelled it."""
    jobs: int
    took_s: float
    """Sums."""
    total_s: float


@dataclass(frozen=True, slots=True)
class Rolled:
    """What one roll-up did: how many numbers it passed, where the cursor is, and what it passed."""

    numbers: int
    until: int
    steps: Sequence[Steps] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened to some jobs; `jobs` were submitted (of a worker: attempts started)."""

    jobs: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    queue_ms: float = 0.0
    run_ms: float = 0.0

    @property
    def average_queue_ms(self) -> float | None:
        """How long an attempt waited for its start once it could, on average."""
        return self.queue_ms / self.started if self.started else None

    @property
    def average_run_ms(self) -> float | None:
        """How long a completed attempt ran, on average."""
        return self.run_ms / self.completed if self.completed else None


@dataclass(slots=True)
class Figures:
    """Figures of one instant."""

    stored: dict[str, int] = field(default_factory=dict)
    """Jobs that are stored, by status."""
    overall: Tally = field(default_factory=Tally)
    by_type: dict[str, Tally] = field(default_factory=dict)
    by_priority: dict[str, Tally] = field(default_factory=dict)
    by_worker: dict[str, Tally] = field(default_factory=dict)
    by_hour: dict[datetime, Tally] = field(default_factory=dict)
    behind: int = 0
    """Events that were added to the sums; at MAX_TAIL, there may be more that were not."""


class StatisticsStore:
    """The sums: read by the gateways, written by the statistics duty."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, start: datetime | None, end: datetime | None) -> Figures:
        """Return the figures of the whole hours that the span touches, or of all time."""
        first, last = floor_hour(start or BEGINNING), ceil_hour(end or END)
        everything = start is None and end is None
        return _figures(
            await self._database.fetch(SQL["read"], first, last, everything, RECENT_HOURS, MAX_TAIL, MAX_WORKERS)
        )

    async def waiting(self) -> int | None:
        """Return how many jobs are pending or queued, by the sums; None when these are far behind."""
        row = (await self._database.fetch(SQL["waiting"]))[0]
        return None if row["behind"] > MAX_TAIL else int(row["waiting"])

    async def stored(self) -> dict[str, int]:
        """Return how many jobs are stored in each status, by the sums; one without any may be missing."""
        return {row["status"]: int(row["jobs"]) for row in await self._database.fetch(SQL["stored"])}

    async def ceiling(self) -> Ceiling | None:
        """Return how far the log reaches now; None when it is summed up so far."""
        newest = (await self._database.fetch(SQL["ceiling"]))[0]
        if newest["seq"] <= newest["rolled"]:
            return None
        return Ceiling(newest["seq"], (await self._database.fetch(SQL["next_xid"]))[0][0])

    async def is_settled(self, ceiling: Ceiling) -> bool:
        """Tell whether every transaction that may still add below the ceiling has ended."""
        xmin: int = (await self._database.fetch(SQL["xmin"]))[0][0]
        return xmin >= ceiling.xid

    async def roll_up(self, until: int, *, limit: int, epoch: int, bounds_s: Sequence[float] = ()) -> Rolled:
        """Sum up the next events, of at most `limit` numbers, up to a settled one.

        With bounds of buckets, in seconds and ascending, tell also which steps those were.
        """
        async with self._database.transaction(epoch=epoch) as connection:
            after: int = await connection.fetchval(SQL["cursor"])
            last = min(until, after + limit)
            if last <= after:
                return Rolled(0, after)
            for name in ("roll_totals", "roll_counts", "roll_workers"):
                await connection.execute(SQL[name], after, last)
            steps = await connection.fetch(SQL["steps"], after, last, bounds_s) if bounds_s else ()
            await connection.execute(SQL["move_cursor"], last)
        return Rolled(last - after, last, [Steps(*row) for row in steps])

    async def forget_hours(self, *, counts_s: float, workers_s: float, epoch: int) -> int:
        """Drop the sums of hours older than that; those over all time stay."""
        async with self._database.transaction(epoch=epoch) as connection:
            return int(await connection.fetchval(SQL["forget_hours"], counts_s, workers_s))


def floor_hour(at: datetime) -> datetime:
    """Return the start of the hour, in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def ceil_hour(at: datetime) -> datetime:
    """Return the end of the hour, in UTC; a whole hour is its own."""
    floor = floor_hour(at)
    return floor if floor == at else floor + timedelta(hours=1)


def _figures(rows: Iterable[Any]) -> Figures:
    figures = Figures()
    groups = {"type": figures.by_type, "priority": figures.by_priority, "worker": figures.by_worker}
    for row in rows:
        kind = row["kind"]
        if kind == "status":
            figures.stored[row["name"]] = row["jobs"]
        elif kind == "behind":
            figures.behind = row["jobs"]
        elif row["jobs"] is not None:
            tally = Tally(*(row[name] for name in Tally.__dataclass_fields__))
            if kind == "all":
                figures.overall = tally
            elif kind == "hour":
                figures.by_hour[row["hour"]] = tally
            else:
                groups[kind][row["name"]] = tally
    return figures
