"""Ways through the jobs, newest first: each an index that holds the list's order behind what it narrows to.

A list goes one way, merges its arms, and looks at each job on it for what the way does not cover, at a bounded number
of jobs. So the planner has nothing to guess: a page has the same bound whether what is sought is frequent, rare, long
ago or nowhere. See docs/adr/0013-list-indexes.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    and_,
    collate,
    func,
    literal_column,
    select,
    true,
    union_all,
)

from distriqueue.core.states import Status
from distriqueue.store.filters import JobFilter, Position, Stretch, Subject, conditions, created
from distriqueue.store.query import job_listing, job_tags, jobs

EVERYTHING: Final = Stretch()
_NONE: Final[ColumnElement[int]] = literal_column("0")
"""An offset that skips nothing, but keeps a subquery apart."""

# As the indexes are spelt: see 0002_reads.sql.
_STATUS: Final = collate(jobs.c.status, "C")
_HAS_WORKER: Final = literal_column("jobs.worker_id || '' <> ''", Boolean)


@dataclass(frozen=True, slots=True)
class Way:
    """A way, by its table and a condition for each value that is wanted."""

    source: FromClause
    arms: tuple[ColumnElement[bool], ...]
    covers: Subject | None
    """What need not be looked at again."""
    ordered: bool = True
    """False: a small set that is sorted each time; no way for what may be large."""

    def entries(self, where: JobFilter, stretch: Stretch = EVERYTHING, *, most: int | None = None) -> Select[Any]:
        """Select the positions on it, in the list's order, of which at most so many are wanted."""
        span = created(where, stretch, self.source)
        c = self.source.c
        arms = [
            select(c.created_at, c.id).where(arm, *span).order_by(c.created_at.desc(), c.id.desc()).limit(most)
            for arm in self.arms
        ]
        if len(arms) == 1:
            return arms[0]
        # Each planned by itself and for a few, they come in order and are merged; else Postgres would sort them all.
        apart = [select((arm if most else arm.offset(_NONE)).subquery()) for arm in arms]
        merged = union_all(*apart).subquery("arms")
        in_order = (merged.c.created_at.desc(), merged.c.id.desc())
        return select(merged.c.created_at, merged.c.id).order_by(*in_order).limit(most)


def ways(where: JobFilter) -> list[Way]:
    """Return the ways for a filter, the one first that is most likely short."""
    found = list(_ways(where))
    if not any(way.ordered for way in found):
        found.append(Way(job_listing, (true(),), None))
    return found


def _ways(where: JobFilter) -> Iterator[Way]:
    if where.ids:
        yield Way(jobs, (jobs.c.id.in_(list(where.ids)),), "ids", ordered=False)
    if where.id_range is not None:
        yield Way(jobs, (jobs.c.id.between(*where.id_range),), "id_range", ordered=False)
    if where.fingerprint is not None:
        yield Way(jobs, (jobs.c.fingerprint == where.fingerprint,), "fingerprint")
    if where.batch is not None:
        yield Way(jobs, (jobs.c.batch_id == where.batch,), "batch", ordered=False)
    if where.schedule is not None:
        yield Way(job_listing, (job_listing.c.schedule_name == where.schedule,), "schedule")
    if where.worker is not None:
        yield Way(jobs, (and_(jobs.c.worker_id == where.worker, _HAS_WORKER),), "worker")
    for tag in dict.fromkeys(where.tags):
        yield Way(job_tags, (job_tags.c.tag == tag,), "tags" if len(set(where.tags)) == 1 else None)
    by_status = Way(jobs, tuple(_STATUS.op("=")(each.value) for each in dict.fromkeys(where.statuses)), "status")
    if where.statuses and Status.COMPLETED not in where.statuses:
        yield by_status
    if where.types:
        yield Way(job_listing, tuple(job_listing.c.type == each for each in dict.fromkeys(where.types)), "type")
    if Status.COMPLETED in where.statuses:
        yield by_status
    if where.priorities:
        priorities = dict.fromkeys(where.priorities)
        yield Way(job_listing, tuple(job_listing.c.priority == each.value for each in priorities), "priority")


def rest(where: JobFilter, way: Way, source: FromClause) -> list[ColumnElement[bool]]:
    """Return the conditions that the way does not cover."""
    return [condition for subject, condition in conditions(where, source) if subject != way.covers]


def matching(where: JobFilter, way: Way, stretch: Stretch, most: int) -> Select[Any]:
    """Select the positions of the first jobs on a stretch of a way that match, in the list's order."""
    if not rest(where, way, jobs):
        return way.entries(where, stretch, most=most)
    looked, found = _looked_at(way.entries(where, stretch))
    return (
        select(looked.c.created_at, looked.c.id)
        .select_from(looked.join(found, true()))
        .where(*rest(where, way, found))
        .order_by(looked.c.created_at.desc(), looked.c.id.desc())
        .limit(most)
    )


def sample(where: JobFilter, way: Way, size: int) -> Select[Any]:
    """Select how many jobs are among the first of a way, at most `size`, and how many of them match."""
    looked, found = _looked_at(way.entries(where, most=size))
    matches = func.count().filter(and_(true(), *rest(where, way, found)))
    columns: list[ColumnElement[Any]] = [func.count(), matches]
    return select(*columns).select_from(looked.join(found, true()))


def _looked_at(entries: Select[Any]) -> tuple[Subquery, FromClause]:
    """Return positions, and their jobs, found by id whatever else the planner would rather do.

    A subquery with an OFFSET or a LIMIT is planned by itself: conditions stay outside of it.
    """
    looked = entries.offset(_NONE).subquery("looked")
    own = jobs.alias("own")
    return looked, select(own).where(own.c.id == looked.c.id).limit(literal_column("1")).lateral("found")


def position(row: Any) -> Position:
    """Read a row of `entries`; the driver's own UUIDs are not the standard library's."""
    return Position(row["created_at"], UUID(bytes=row["id"].bytes))
