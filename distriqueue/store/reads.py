"""Jobs as clients read them: one, a page by filters, its attempts."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, case, cast, func, literal_column, or_, select, tuple_

from distriqueue.core.errors import NotFound
from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.store.database import Database
from distriqueue.store.query import compiled, jobs
from distriqueue.store.statements import load

SQL: Final = load("reads.sql")
EXACT_COUNT: Final = 10_000
"""Counts are exact up to here, and the planner's estimate beyond."""
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
class JobFilter:
    """What a page of jobs is narrowed to; empty means everything."""

    statuses: tuple[Status, ...] = ()
    priorities: tuple[Priority, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    worker: str | None = None
    batch: UUID | None = None
    schedule: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    text: str | None = None
    ids: tuple[UUID, ...] = ()
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page by cursor goes on: after this job, newest first."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs match."""

    jobs: int
    exact: bool


class JobReader:
    """Reads; each is one statement and sees one instant."""

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
    ) -> tuple[list[Job], bool]:
        """Return matching jobs, newest first, and whether there are more; by `after` at constant cost."""
        conditions = _conditions(where)
        if after is not None:
            conditions.append(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(after.created_at, after.id))
        statement = (
            select(*_LISTED)
            .where(*conditions)
            .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
            .limit(size + 1)
            .offset(offset)
        )
        text, arguments = compiled(statement)
        rows = await self._database.fetch(text, *arguments)
        return [Job(*row) for row in rows[:size]], len(rows) > size

    async def positions(self, where: JobFilter, *, size: int, after: Position | None = None) -> list[Position]:
        """Return where the next matching jobs are, newest first: as `page`, without the jobs."""
        conditions = _conditions(where)
        if after is not None:
            conditions.append(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(after.created_at, after.id))
        order = (jobs.c.created_at.desc(), jobs.c.id.desc())
        text, arguments = compiled(select(jobs.c.created_at, jobs.c.id).where(*conditions).order_by(*order).limit(size))
        return [Position(row[0], UUID(bytes=row[1].bytes)) for row in await self._database.fetch(text, *arguments)]

    async def count(self, where: JobFilter) -> Count:
        """Count matching jobs: exactly up to EXACT_COUNT, beyond it by the planner's estimate."""
        conditions = _conditions(where)
        some = select(literal_column("1")).select_from(jobs).where(*conditions).limit(EXACT_COUNT + 1).subquery()
        text, arguments = compiled(select(func.count()).select_from(some))
        counted = (await self._database.fetch(text, *arguments))[0][0]
        if counted <= EXACT_COUNT:
            return Count(counted, exact=True)
        text, arguments = compiled(select(literal_column("1")).select_from(jobs).where(*conditions))
        plan = await self._database.fetch(f"EXPLAIN {text}", *arguments)
        estimate = int(plan[0][0].partition(" rows=")[2].partition(" ")[0])
        return Count(max(estimate, counted), exact=False)


_PARENTS: Final = (
    "CASE WHEN jobs.has_parents THEN ARRAY (SELECT d.parent_id FROM dependencies d"
    " WHERE d.child_id = jobs.id ORDER BY d.place) ELSE '{}' END"
)


def _listed() -> list[ColumnElement[Any]]:
    columns: list[ColumnElement[Any]] = []
    for name in (field.name for field in fields(Job)):
        if name == "depends_on":
            columns.append(literal_column(_PARENTS).label(name))
            continue
        source = jobs.c[name]
        if name in ("payload", "result"):
            small = func.pg_column_size(source) <= literal_column(str(INLINE_BYTES))
            columns.append(case((small, source)).label(name))
        else:
            columns.append(source)
    return columns


_LISTED: Final = _listed()


def _conditions(where: JobFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []

    def one_of(source: ColumnElement[Any], values: Sequence[str]) -> None:
        if len(values) == 1:
            found.append(source == values[0])
        elif values:
            found.append(source.in_(list(values)))

    one_of(jobs.c.status, [status.value for status in where.statuses])
    one_of(jobs.c.priority, [priority.value for priority in where.priorities])
    one_of(jobs.c.type, where.types)
    if where.tags:
        found.append(jobs.c.tags.contains(list(where.tags)))
    if where.worker is not None:
        found.append(jobs.c.worker_id == where.worker)
    if where.batch is not None:
        found.append(jobs.c.batch_id == where.batch)
    if where.schedule is not None:
        found.append(jobs.c.schedule_name == where.schedule)
    if where.ids:
        found.append(jobs.c.id.in_(list(where.ids)))
    if where.fingerprint is not None:
        found.append(jobs.c.fingerprint == where.fingerprint)
    if where.created_from is not None:
        found.append(jobs.c.created_at >= where.created_from)
    if where.created_to is not None:
        found.append(jobs.c.created_at < where.created_to)
    if where.text:
        found.append(
            or_(
                cast(jobs.c.id, Text).startswith(where.text.lower(), autoescape=True),
                jobs.c.type.icontains(where.text, autoescape=True),
                cast(jobs.c.error, Text).icontains(where.text, autoescape=True),
            )
        )
    return found
