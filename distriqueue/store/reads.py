"""Jobs as clients read them: one, a page by filters, its attempts."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, func, literal_column, select, union_all

from distriqueue.core.errors import NotFound
from distriqueue.store.database import Database
from distriqueue.store.filters import JobFilter, Position, Stretch, id_range
from distriqueue.store.listing import Way, matching, position, rest, sample, ways
from distriqueue.store.query import compiled, jobs
from distriqueue.store.statements import load

__all__ = ["Attempt", "Count", "Job", "JobFilter", "JobReader", "Position"]

SQL: Final = load("reads.sql")
LOOKED_AT: Final = 10_000
"""Most jobs that are looked at for one page: what is not found among them is left to the next."""
EXACT_COUNT: Final = 10_000
"""Counts are exact up to here, and the planner's estimate beyond."""
SAMPLE: Final = 500
"""Where jobs have to be looked at to be counted, so many are; beyond it their share of the estimate counts."""
INLINE_BYTES: Final = 4_096
"""In a page, a payload or result stored in more bytes than this is left out."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job's row; `payload`, `result`, `error` and `metadata` are JSON text as stored."""

    id: UUID
    type: str
    priority: str
    status: str
    attempt: int
    failures: int
    losses: int
    max_retries: int
    execution_timeout_s: float
    cancel_requested: bool
    worker_id: str | None
    progress: float | None
    progress_message: str | None
    created_at: datetime
    ready_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    batch_id: UUID | None
    schedule_name: str | None
    schedule_fire_at: datetime | None
    unique_key: str | None
    concurrency_key: str | None
    concurrency_limit: int | None
    callback_url: str | None
    depends_on: list[UUID]
    tags: list[str]
    retry_policy: str | None
    metadata: str | None
    payload: str | None
    result: str | None
    error: str | None
    omitted: Sequence[str] = ()
    """Which of `payload` and `result` a page has left out for their size."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; the newest one's `outcome` is the job's status."""

    attempt: int
    worker_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    outcome: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs match."""

    jobs: int
    exact: bool


class JobReader:
    """Reads. What a page and a count go by is looked up first: they are of one instant each, and not of the same."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job_id: UUID) -> Job:
        """Return one job, whole; NotFound."""
        rows = await self._database.fetch(SQL["job"], job_id)
        if not rows:
            raise NotFound(f"there is no job {job_id}")
        return Job(*rows[0])

    async def attempts(self, job_id: UUID) -> list[Attempt]:
        """Return a job's attempts, oldest first."""
        return [Attempt(*row) for row in await self._database.fetch(SQL["attempts"], job_id)]

    async def page(
        self, where: JobFilter, *, size: int, offset: int = 0, after: Position | None = None
    ) -> tuple[list[Job], Position | None]:
        """Return matching jobs, newest first, and where to go on if there may be more; only `offset` makes it dearer.

        There may be fewer than `size` and more to come all the same: when LOOKED_AT jobs were looked at for them.
        """
        where = await self._resolved(where)
        way, stretch = await self._way(where, after)
        shown = matching(where, way, stretch, offset + size + 1).limit(size + 1).offset(offset).subquery("shown")
        order = (shown.c.created_at.desc(), shown.c.id.desc())
        statement = select(*_LISTED).select_from(shown.join(jobs, jobs.c.id == shown.c.id)).order_by(*order)
        text, arguments = compiled(statement)
        found = [Job(*row) for row in await self._database.fetch(text, *arguments)]
        if len(found) > size:
            return found[:size], Position(found[size - 1].created_at, found[size - 1].id)
        return found, stretch.until

    async def positions(self, where: JobFilter, *, size: int, after: Position | None = None) -> list[Position]:
        """Return where the next matching jobs are, newest first: fewer than `size` only when there are no more."""
        where = await self._resolved(where)
        found: list[Position] = []
        while len(found) < size:
            way, stretch = await self._way(where, after)
            text, arguments = compiled(matching(where, way, stretch, size - len(found)))
            found += [position(row) for row in await self._database.fetch(text, *arguments)]
            if stretch.until is None:
                break
            after = stretch.until
        return found

    async def count(self, where: JobFilter) -> Count:
        """Count matching jobs, at constant cost: exactly while few have to be counted, else by an estimate."""
        where = await self._resolved(where)
        way, _ = await self._way(where, None, most=SAMPLE)
        if rest(where, way, jobs):
            text, arguments = compiled(sample(where, way, SAMPLE))
            looked_at, matched = (await self._database.fetch(text, *arguments))[0]
            if looked_at < SAMPLE:
                return Count(matched, exact=True)
            return Count(max(matched, round(matched / looked_at * await self._estimate(where, way))), exact=False)
        some = way.entries(where, most=EXACT_COUNT + 1).subquery("some")
        text, arguments = compiled(select(func.count()).select_from(some))
        counted: int = (await self._database.fetch(text, *arguments))[0][0]
        if counted <= EXACT_COUNT:
            return Count(counted, exact=True)
        return Count(max(counted, await self._estimate(where, way)), exact=False)

    async def _resolved(self, where: JobFilter) -> JobFilter:
        """Take a text for the start of an id when there is such a job."""
        ids = id_range(where.text) if where.text else None
        if ids is None or not (await self._database.fetch(SQL["has_id_between"], *ids))[0][0]:
            return where
        return replace(where, text=None, id_range=ids)

    async def _way(self, where: JobFilter, after: Position | None, *, most: int | None = None) -> tuple[Way, Stretch]:
        """Choose a way, and how much of it to look at: all of a short one, or of another the next `most` jobs."""
        found, whole = ways(where), Stretch(after)
        if len(found) == 1 and not rest(where, found[0], jobs):
            return found[0], whole
        most = LOOKED_AT if most is None else most
        ends: dict[int, Position] = {}
        for look in sorted({min(SAMPLE, most), most}):
            ends = await self._ends([way.entries(where, whole, most=look) for way in found], look)
            for n, way in enumerate(found):
                if n not in ends:
                    return way, whole
        first = next(n for n, way in enumerate(found) if way.ordered)
        return found[first], Stretch(after, ends[first])

    async def _ends(self, entries: Sequence[Select[Any]], look: int) -> dict[int, Position]:
        """Return the last of the next `look` entries of each that has so many."""
        last = [each.limit(1).offset(look - 1).subquery() for each in entries]
        arms = [select(literal_column(str(n)).label("n"), each.c.created_at, each.c.id) for n, each in enumerate(last)]
        text, arguments = compiled(union_all(*arms))
        return {row["n"]: position(row) for row in await self._database.fetch(text, *arguments)}

    async def _estimate(self, where: JobFilter, way: Way) -> int:
        """Return how many jobs the planner takes to be on a way."""
        text, arguments = compiled(way.entries(where).order_by(None))
        plan = await self._database.fetch(f"EXPLAIN {text}", *arguments)
        return int(plan[0][0].partition(" rows=")[2].partition(" ")[0])


_PARENTS: Final = (
    "CASE WHEN jobs.has_parents THEN ARRAY (SELECT d.parent_id FROM dependencies d"
    " WHERE d.child_id = jobs.id ORDER BY d.place) ELSE '{}' END"
)
_OMITTED: Final = (
    f"array_remove(ARRAY[CASE WHEN pg_column_size(jobs.payload) > {INLINE_BYTES} THEN 'payload' END,"
    f" CASE WHEN pg_column_size(jobs.result) > {INLINE_BYTES} THEN 'result' END], NULL)"
)


def _listed() -> list[ColumnElement[Any]]:
    columns: list[ColumnElement[Any]] = []
    for name in (field.name for field in fields(Job)):
        if name == "depends_on":
            columns.append(literal_column(_PARENTS).label(name))
            continue
        if name == "omitted":
            columns.append(literal_column(_OMITTED).label(name))
            continue
        source = jobs.c[name]
        if name in ("payload", "result"):
            small = func.pg_column_size(source) <= literal_column(str(INLINE_BYTES))
            columns.append(case((small, source)).label(name))
        else:
            columns.append(source)
    return columns


_LISTED: Final = _listed()
