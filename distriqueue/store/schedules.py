"""Cron schedules, and their fires: one job per schedule and fire time, in the transaction that moves the schedule on.

The unique index on (schedule, fire time) and the fence make it once, whatever leaders do. Operators' changes and fires
lock the schedule's row, so neither overwrites the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final, Literal
from uuid import UUID

from pydantic_core import from_json, to_json

from distriqueue.core.errors import Conflict, DistriQueueError, InvalidRequest, NotFound
from distriqueue.core.job import (
    DEFAULT_EXECUTION_TIMEOUT_S,
    DEFAULT_MAX_RETRIES,
    Priority,
    new_job_id,
)
from distriqueue.core.messages import Dispatch
from distriqueue.cron import Cron, due
from distriqueue.store import idempotency
from distriqueue.store.database import Database
from distriqueue.store.idempotency import IdempotencyKey
from distriqueue.store.rows import dispatch_of
from distriqueue.store.statements import load

SQL: Final = load("schedules.sql")
DEFAULT_GRACE_S: Final = 60.0
INLINE_BYTES: Final = 4_096
"""In a page, a payload stored in more bytes than this is left out."""

Overlap = Literal["allow", "skip"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operator says of a schedule: when it fires, and what job that makes."""

    name: str
    cron: str
    type: str
    timezone: str = "UTC"
    payload_json: str | None = "{}"
    """None in a page, for one that is large."""
    priority: Priority = Priority.MEDIUM
    max_retries: int = DEFAULT_MAX_RETRIES
    execution_timeout_s: float = DEFAULT_EXECUTION_TIMEOUT_S
    tags: tuple[str, ...] = ()
    overlap: Overlap = "allow"
    """`skip`: a fire makes no job while an earlier fire's is not over."""
    misfire_grace_s: float = DEFAULT_GRACE_S
    """How late a fire may be; of those that are later only the newest is made up for."""
    paused: bool = False

    def times(self) -> Cron:
        """Return when it fires; InvalidRequest names the wrong field."""
        return Cron.parse(self.cron, self.timezone)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A stored schedule."""

    plan: Plan
    next_fire: datetime | None
    last_fire: datetime | None
    last_job_id: UUID | None
    fired: int
    missed: int
    overlapped: int
    error: str | None
    created_at: datetime
    updated_at: datetime

    def next_fires(self, count: int) -> list[datetime]:
        """Return the next fire times; none when it is paused or has failed."""
        if self.plan.paused or self.next_fire is None:
            return []
        return list(islice(chain([self.next_fire], self.plan.times().after(self.next_fire)), count))


@dataclass(frozen=True, slots=True)
class Run:
    """A job that a schedule has made because somebody asked for it."""

    job_id: UUID
    ready: Sequence[Dispatch]
    """What is to be dispatched now: nothing for a request that came before."""
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Fired:
    """What one transaction made."""

    dispatches: Sequence[Dispatch]
    schedules: int
    """How many were due; at the limit, more may be."""
    broken: Sequence[tuple[str, str]]
    """Schedules that cannot fire, and why."""


class ScheduleStore:
    """The table of schedules."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, plan: Plan) -> Schedule:
        """Store a new schedule; Conflict when the name is taken, InvalidRequest for a wrong cron or time zone."""
        cron = plan.times()
        async with self._database.transaction() as connection:
            now = await connection.fetchval(SQL["now"])
            row = await connection.fetchrow(SQL["create"], *_columns(plan), _first(plan, cron, now))
        if row is None:
            raise Conflict(f"a schedule named {plan.name!r} exists already")
        return _schedule(row)

    async def get(self, name: str) -> Schedule:
        """Return one schedule; NotFound."""
        rows = await self._database.fetch(SQL["get"], name)
        if not rows:
            raise _unknown(name)
        return _schedule(rows[0])

    async def page(self, *, after: str = "", limit: int = 100) -> list[Schedule]:
        """Return the schedules whose names follow `after`, in order."""
        return [_schedule(row) for row in await self._database.fetch(SQL["page"], after, limit, INLINE_BYTES)]

    async def update(self, name: str, **changes: Any) -> Schedule:
        """Change fields of the plan; NotFound, InvalidRequest.

        Another cron or time zone, or the end of a pause, counts from now: what would have fired before does not.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["lock"], name)
            if row is None:
                raise _unknown(name)
            before = _schedule(row)
            plan = replace(before.plan, **changes)
            same = (plan.cron, plan.timezone, plan.paused) == (
                before.plan.cron,
                before.plan.timezone,
                before.plan.paused,
            )
            next_fire = before.next_fire if same and before.next_fire else _first(plan, plan.times(), row["at"])
            return _schedule(await connection.fetchrow(SQL["update"], *_columns(plan), next_fire))

    async def delete(self, name: str) -> None:
        """Forget a schedule; the jobs that it made stay. NotFound."""
        if not await self._database.fetch(SQL["delete"], name):
            raise _unknown(name)

    async def run(self, name: str, *, idempotency_key: IdempotencyKey | None = None) -> Run:
        """Make one job now, as a fire would, and none in place of one: paused or not, its next fires stay as they are.

        With a key, once: the same request gets the same job. Raises NotFound; Conflict when it is not to overlap and
        one of its jobs is not over; IdempotencyKeyReused, IdempotencyKeyInFlight.
        """
        async with self._database.transaction() as connection:
            if idempotency_key is not None:
                first = (await idempotency.first_answers(connection, {0: idempotency_key})).get(0)
                if isinstance(first, DistriQueueError):
                    raise first
                if isinstance(first, str):
                    return Run(UUID(from_json(first)["jobId"]), (), replayed=True)
            row = await connection.fetchrow(SQL["lock"], name)
            if row is None:
                raise _unknown(name)
            if row["overlap"] == "skip" and (open_ := await connection.fetchval(SQL["busy"], name)) is not None:
                raise Conflict(f"the schedule {name!r} is not to overlap, and its job {open_} is not over")
            made = dispatch_of(await connection.fetchrow(SQL["run"], new_job_id(), name))
            if idempotency_key is not None:
                answer = to_json({"jobId": made.job_id}).decode()
                await idempotency.keep(connection, [(idempotency_key, answer)])
        return Run(made.job_id, (made,))

    async def next_due_s(self) -> float | None:
        """Return in how many seconds the next fire is due (≤ 0: now), None when none is to come."""
        in_s: float | None = (await self._database.fetch(SQL["next_due"]))[0]["in_s"]
        return in_s

    async def fire(self, *, limit: int, epoch: int) -> Fired:
        """Make the jobs of at most `limit` schedules that are due, and move these on; one transaction."""
        async with self._database.transaction(epoch=epoch) as connection:
            rows = await connection.fetch(SQL["due"], limit)
            turns = [_turn(row) for row in rows]
            wanted = [(new_job_id(), turn.name, at) for turn in turns for at in turn.fires]
            made = await connection.fetch(SQL["fire"], *map(list, zip(*wanted, strict=True))) if wanted else []
            last = {row["schedule_name"]: row for row in sorted(made, key=lambda row: row["schedule_fire_at"])}
            count = {name: sum(row["schedule_name"] == name for row in made) for name in last}
            if turns:
                await connection.execute(
                    SQL["advance"],
                    [turn.name for turn in turns],
                    [turn.next_fire for turn in turns],
                    [last[turn.name]["schedule_fire_at"] if turn.name in last else None for turn in turns],
                    [last[turn.name]["id"] if turn.name in last else None for turn in turns],
                    [count.get(turn.name, 0) for turn in turns],
                    [turn.missed for turn in turns],
                    [turn.overlapped for turn in turns],
                    [turn.error for turn in turns],
                )
        return Fired(
            [dispatch_of(row) for row in made],
            len(turns),
            [(turn.name, turn.error) for turn in turns if turn.error is not None],
        )


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one due schedule does now."""

    name: str
    fires: list[datetime]
    missed: int
    overlapped: int
    next_fire: datetime | None
    error: str | None = None


def _turn(row: Any) -> _Turn:
    name: str = row["name"]
    try:
        cron = Cron.parse(row["cron"], row["timezone"])
    except InvalidRequest as exc:  # it was right when it was stored: this machine knows other time zones
        return _Turn(name, [], 0, 0, None, exc.message)
    decided = due(cron, row["next_fire"], row["at"], grace_s=row["misfire_grace_s"])
    fires = decided.fires
    if row["overlap"] == "skip":
        fires = [] if row["busy"] else fires[:1]
    return _Turn(name, fires, decided.missed, len(decided.fires) - len(fires), decided.next_fire)


def _first(plan: Plan, cron: Cron, now: datetime) -> datetime | None:
    return None if plan.paused else next(cron.after(now), None)


def _columns(plan: Plan) -> tuple[Any, ...]:
    return (
        plan.name,
        plan.cron,
        plan.timezone,
        plan.type,
        plan.priority.value,
        plan.payload_json,
        plan.max_retries,
        plan.execution_timeout_s,
        list(plan.tags),
        plan.overlap,
        plan.misfire_grace_s,
        plan.paused,
    )


def _schedule(row: Any) -> Schedule:
    return Schedule(
        Plan(
            name=row["name"],
            cron=row["cron"],
            type=row["type"],
            timezone=row["timezone"],
            payload_json=row["payload"],
            priority=Priority(row["priority"]),
            max_retries=row["max_retries"],
            execution_timeout_s=row["execution_timeout_s"],
            tags=tuple(row["tags"]),
            overlap=row["overlap"],
            misfire_grace_s=row["misfire_grace_s"],
            paused=row["paused"],
        ),
        next_fire=row["next_fire"],
        last_fire=row["last_fire"],
        last_job_id=row["last_job_id"],
        fired=row["fired"],
        missed=row["missed"],
        overlapped=row["overlapped"],
        error=row["error"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no schedule named {name!r}")
