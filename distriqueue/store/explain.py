"""What a job waits for: the facts of one moment, each at constant cost however many jobs there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from distriqueue.store.database import Database
from distriqueue.store.reads import Job, JobReader
from distriqueue.store.statements import load

SQL: Final = load("explain.sql")
NAMED: Final = 10
"""Most jobs that are named."""
COUNTED: Final = 1_000
"""Counts are exact up to here."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The lane that a job goes through, and how many dispatches wait in it before the job's own."""

    name: str
    paused: bool
    reason: str | None
    ahead: int


@dataclass(frozen=True, slots=True)
class Takers:
    """The living workers, and those of them that handle the job's type."""

    workers: int
    handling: int
    capacity: int
    load: int


@dataclass(frozen=True, slots=True)
class Slots:
    """Who holds the slots of a job's concurrency key, and how many stand in line before it."""

    holders: tuple[UUID, ...]
    held: int
    ahead: int


@dataclass(frozen=True, slots=True)
class OwnWorker:
    """The worker that runs a job."""

    state: str
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """All that says why a job is where it is; what does not concern its status is None or empty."""

    job: Job
    now: datetime
    rate_slot: datetime | None = None
    waits_for: int = 0
    parents: Mapping[UUID, str] | None = None
    """Some of those that it waits for, and their statuses."""
    slots: Slots | None = None
    lane: Lane | None = None
    takers: Takers | None = None
    worker: OwnWorker | None = None


class ExplainStore:
    """Reads the facts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader = JobReader(database)

    async def facts(self, job_id: UUID) -> Facts:
        """Return what there is to say of a job; NotFound."""
        job = await self._reader.get(job_id)
        more = await self._one("more", job_id)
        facts: dict[str, Any] = {"rate_slot": more["rate_slot"], "waits_for": more["waits_for"]}
        match job.status:
            case "blocked":
                rows = await self._database.fetch(SQL["parents"], job_id, NAMED)
                facts["parents"] = {_uuid(row["id"]): row["status"] for row in rows}
                if job.concurrency_key is not None and not more["waits_for"]:
                    facts["slots"] = await self._slots(job)
            case "pending" | "queued":
                lane = await self._one("lane", job_id, COUNTED)
                facts["lane"] = Lane(lane["name"], lane["paused"], lane["reason"], lane["ahead"])
                takers = await self._one("takers", job.type)
                facts["takers"] = Takers(**dict(takers))
            case "running":
                rows = await self._database.fetch(SQL["worker"], job.worker_id)
                facts["worker"] = OwnWorker(rows[0]["state"], rows[0]["last_seen"]) if rows else None
            case _:
                pass
        return Facts(job, more["now"], **facts)

    async def _slots(self, job: Job) -> Slots:
        rows = await self._database.fetch(SQL["holders"], job.concurrency_key, COUNTED)
        ahead = await self._one("line", job.concurrency_key, job.priority, job.ready_at, job.id, COUNTED)
        return Slots(tuple(_uuid(row["id"]) for row in rows[:NAMED]), len(rows), ahead["ahead"])

    async def _one(self, name: str, *arguments: object) -> Any:
        return (await self._database.fetch(SQL[name], *arguments))[0]


def _uuid(value: Any) -> UUID:
    """Return the driver's own UUID as the standard library's."""
    return UUID(bytes=value.bytes)
