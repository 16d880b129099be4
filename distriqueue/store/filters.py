"""What lists of jobs are narrowed to, and the conditions that say so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Text, cast, or_, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from distriqueue.core.job import Priority
from distriqueue.core.states import Status

Subject = Literal[
    "ids",
    "id_range",
    "fingerprint",
    "batch",
    "schedule",
    "worker",
    "tags",
    "status",
    "type",
    "priority",
    "payload",
    "text",
    "end",
]
"""What a condition is about."""

_ID_START: Final = re.compile(r"[0-9a-f]{8}(?:[0-9a-f-]{0,28})", re.IGNORECASE)
_ID_SHAPE: Final = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What jobs are narrowed to; empty means everything."""

    statuses: tuple[Status, ...] = ()
    priorities: tuple[Priority, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    worker: str | None = None
    batch: UUID | None = None
    schedule: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    payload: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    """Names that lead into the payload, and the texts of which one is there."""
    text: str | None = None
    ids: tuple[UUID, ...] = ()
    fingerprint: str | None = None
    finished_from: datetime | None = None
    finished_to: datetime | None = None
    id_range: tuple[UUID, UUID] | None = None
    """The first and last id."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list, newest first: of this job, be it there or not."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the list: after one position (as a cursor says), and up to another, which belongs to it."""

    after: Position | None = None
    until: Position | None = None


def id_range(text: str) -> tuple[UUID, UUID] | None:
    """Return the first and last id that begin with the text; None for one that begins none, or is too short for it."""
    if _ID_START.fullmatch(text) is None or any(
        (x == "-") != (y == "-") for x, y in zip(text, _ID_SHAPE, strict=False)
    ):
        return None
    digits = text.replace("-", "")
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def conditions(where: JobFilter, source: FromClause) -> list[tuple[Subject, ColumnElement[bool]]]:
    """Say the filter in terms of a source with the columns of `jobs`; all but when they were created."""
    c = source.c
    equal: tuple[tuple[Subject, ColumnElement[Any], object], ...] = (
        ("fingerprint", c.fingerprint, where.fingerprint),
        ("batch", c.batch_id, where.batch),
        ("schedule", c.schedule_name, where.schedule),
        ("worker", c.worker_id, where.worker),
    )
    among: tuple[tuple[Subject, ColumnElement[Any], Sequence[object]], ...] = (
        ("ids", c.id, where.ids),
        ("status", c.status, [status.value for status in where.statuses]),
        ("type", c.type, where.types),
        ("priority", c.priority, [priority.value for priority in where.priorities]),
    )
    found = [(subject, column == value) for subject, column, value in equal if value is not None]
    found += [(subject, column.in_(list(values))) for subject, column, values in among if values]
    if where.id_range is not None:
        found.append(("id_range", c.id.between(*where.id_range)))
    if where.tags:
        found.append(("tags", c.tags.contains(list(where.tags))))
    for path, values in where.payload:
        found.append(("payload", c.payload.op("#>>")(cast(list(path), ARRAY(Text))).in_(list(values))))
    if where.finished_from is not None:
        found.append(("end", c.finished_at >= where.finished_from))
    if where.finished_to is not None:
        found.append(("end", c.finished_at < where.finished_to))
    if where.text:
        starts = cast(c.id, Text).startswith(where.text.lower(), autoescape=True)
        holds = (each.icontains(where.text, autoescape=True) for each in (c.type, cast(c.error, Text)))
        found.append(("text", or_(starts, *holds)))
    return found


def created(where: JobFilter, stretch: Stretch, source: FromClause) -> list[ColumnElement[bool]]:
    """Say when the jobs were created, and where in the list they are; each is a bound of an index in that order."""
    c = source.c
    found: list[ColumnElement[bool]] = []
    if where.created_from is not None:
        found.append(c.created_at >= where.created_from)
    if where.created_to is not None:
        found.append(c.created_at < where.created_to)
    if stretch.after is not None:
        found.append(tuple_(c.created_at, c.id) < tuple_(stretch.after.created_at, stretch.after.id))
    if stretch.until is not None:
        found.append(tuple_(c.created_at, c.id) >= tuple_(stretch.until.created_at, stretch.until.id))
    return found
