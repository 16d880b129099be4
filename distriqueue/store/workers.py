"""Workers, as the orchestrators hear them: what heartbeats say, and what the workers are to be told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json

from distriqueue.core.errors import Conflict, NotFound
from distriqueue.core.job import Priority
from distriqueue.core.messages import Heartbeat
from distriqueue.store.database import Database, again
from distriqueue.store.statements import load

SQL: Final = load("workers.sql")
MAX_COMMANDS: Final = 10_000
"""Most cancels, and most drains, that one flush learns."""


class WorkerState(StrEnum):
    """How a worker is; the value is the wire's and the store's spelling."""

    ACTIVE = "ACTIVE"
    IDLE = "IDLE"
    OVERLOADED = "OVERLOADED"
    UNRESPONSIVE = "UNRESPONSIVE"
    """Unheard for too long: set by the reaper, healed by the next heartbeat."""
    SHUTTING_DOWN = "SHUTTING_DOWN"
    STOPPED = "STOPPED"


def state_of(beat: Heartbeat) -> WorkerState:
    """Return the state that a heartbeat speaks of."""
    if beat.stopped:
        return WorkerState.STOPPED
    if beat.stopping:
        return WorkerState.SHUTTING_DOWN
    if beat.current_load == 0:
        return WorkerState.IDLE
    return WorkerState.OVERLOADED if beat.current_load >= beat.capacity else WorkerState.ACTIVE


@dataclass(frozen=True, slots=True)
class Recorded:
    """When a flush was recorded, by the database's clock, and what it learned to tell the workers."""

    at: datetime
    cancel: Mapping[str, Sequence[UUID]]
    """By worker: its running jobs that are to be cancelled."""
    drain: frozenset[str]
    paused: tuple[Priority, ...] = ()
    """Lanes that no worker is to take from."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Workers in one state: how many, with how many slots, and how many jobs they have to do with."""

    workers: int
    slots: int
    load: int


class WorkerStore:
    """The table of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, beats: Sequence[Heartbeat]) -> Recorded:
        """Store the newest heartbeat of each worker in one statement; none will do, to date the recording."""
        columns = _columns(sorted(beats, key=lambda beat: beat.worker_id))
        rows = await again(lambda: self._database.fetch(SQL["record"], *columns, MAX_COMMANDS))
        cancel: dict[str, list[UUID]] = {}
        drain = set()
        paused = []
        for row in rows:
            if row["lane"] is not None:
                paused.append(Priority(row["lane"]))
            elif row["job_id"] is not None:
                cancel.setdefault(row["worker_id"], []).append(row["job_id"])
            elif row["worker_id"] is not None:
                drain.add(row["worker_id"])
        return Recorded(rows[0]["at"], cancel, frozenset(drain), tuple(paused))

    async def page(self, *, after: str, limit: int, state: WorkerState | None = None) -> list[Mapping[str, Any]]:
        """Return the workers whose ids follow `after`, in order, with how many jobs each runs."""
        return await self._database.fetch(SQL["page"], after, limit, state and state.value)

    async def get(self, worker_id: str) -> Mapping[str, Any]:
        """Return one worker; NotFound."""
        rows: list[Mapping[str, Any]] = await self._database.fetch(SQL["get"], worker_id)
        if not rows:
            raise NotFound(f"there is no worker {worker_id!r}")
        return rows[0]

    async def drain(self, worker_id: str) -> None:
        """Let the worker be told to stop, with its next heartbeat; NotFound, Conflict when it has stopped."""
        if not await self._database.fetch(SQL["drain"], worker_id):
            worker = await self.get(worker_id)
            raise Conflict(f"the worker {worker_id!r} is {worker['state']}")

    async def count(self) -> dict[WorkerState, int]:
        """Return how many workers are in each state."""
        return {state: crowd.workers for state, crowd in (await self.crowds()).items()}

    async def crowds(self) -> dict[WorkerState, Crowd]:
        """Return the workers in each state, added up."""
        found = {row["state"]: Crowd(*map(int, row[1:])) for row in await self._database.fetch(SQL["count"])}
        return {state: found.get(state.value, Crowd(0, 0, 0)) for state in WorkerState}

    async def prune(self, *, older_than_s: float, limit: int, epoch: int) -> int:
        """Forget workers that ended long ago; Fenced, StoreUnavailable."""
        async with self._database.transaction(epoch=epoch) as connection:
            done = await connection.execute(SQL["prune"], older_than_s, limit)
        return int(done.rpartition(" ")[2])


def _columns(beats: Sequence[Heartbeat]) -> tuple[list[Any], ...]:
    return (
        [beat.worker_id for beat in beats],
        [beat.worker_type for beat in beats],
        [state_of(beat).value for beat in beats],
        [beat.capacity for beat in beats],
        [beat.current_load for beat in beats],
        [to_json(beat.types).decode() for beat in beats],
        [beat.version for beat in beats],
        [beat.memory_bytes for beat in beats],
    )
