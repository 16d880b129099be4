"""A job as one line of JSON: what the archive and `distriqueue export` are made of.

Names and spellings are the API's. What else the row has comes along under its column's name in camelCase, also columns
that a later migration adds; what the API derives (durations, links) is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic.alias_generators import to_camel

from distriqueue.core.states import Status
from distriqueue.store.statements import load

SQL: Final = load("export.sql")
PAGE_BYTES: Final = 2 * 2**20
"""How much is read at once: so much, or one job."""
OTHER_BYTES: Final = 4_096
"""What a line is reckoned to have besides its JSON columns."""
_RENAMED: Final = {
    "execution_timeout_s": "executionTimeout",
    "due_at": "scheduleAt",
    "schedule_fire_at": "scheduledFor",
    "job_id": "jobId",
}
_OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True)
class Line:
    """A job's JSON in UTF-8, its end of line included."""

    id: UUID
    text: bytes


async def pages(connection: Any, ids: Sequence[UUID], *, page_bytes: int = PAGE_BYTES) -> list[list[UUID]]:
    """Part jobs into pages, in this order, each of which can be held in memory."""
    sizes = {row["id"]: row["size_bytes"] + OTHER_BYTES for row in await connection.fetch(SQL["sizes"], ids)}
    found: list[list[UUID]] = []
    room = 0
    for job_id in ids:
        size = sizes.get(job_id, OTHER_BYTES)
        if not found or size > room:
            found.append([])
            room = page_bytes
        found[-1].append(job_id)
        room -= size
    return found


async def lines(
    connection: Any, ids: Sequence[UUID], *, attempts: bool = True, statuses: Sequence[Status] = ()
) -> list[Line]:
    """Read these jobs whole, in this order; those that are gone, or have none of the statuses now, are left out.

    Two statements: in a transaction that locks the rows, or one of a single snapshot, they see the same.
    """
    # Prepared afresh each time: the columns are those that the table has now.
    statement = await connection.prepare(SQL["jobs"])
    columns = _columns(statement.get_attributes())
    rows = await statement.fetch(ids, [status.value for status in statuses] or None)
    jobs = {row["id"]: _object(columns, row) for row in rows}
    if attempts:
        await _add_attempts(connection, jobs)
    return [Line(job_id, orjson.dumps(jobs[job_id], str, _OPTIONS)) for job_id in ids if job_id in jobs]


async def _add_attempts(connection: Any, jobs: dict[UUID, dict[str, Any]]) -> None:
    statement = await connection.prepare(SQL["attempts"])
    columns = _columns(statement.get_attributes())
    for job in jobs.values():
        job["attempts"] = []
    for row in await statement.fetch(list(jobs)):
        shown = _object(columns, row)
        del shown["jobId"]
        jobs[row["job_id"]]["attempts"].append(shown)


def _columns(attributes: Iterable[Any]) -> list[tuple[str, bool]]:
    """Return each column's key, and whether it holds JSON text."""
    return [(_RENAMED.get(a.name) or to_camel(a.name), a.type.name in ("json", "jsonb")) for a in attributes]


def _object(columns: list[tuple[str, bool]], row: Iterable[Any]) -> dict[str, Any]:
    return {
        key: _on_one_line(value) if is_json and value is not None else value
        for (key, is_json), value in zip(columns, row, strict=True)
    }


def _on_one_line(text: str) -> orjson.Fragment:
    """Take JSON as it was stored; a line's end in it can only lie between its words (RFC 8259 §7)."""
    return orjson.Fragment(text.replace("\n", " ").replace("\r", " "))
