"""A running contender, as measurements see it: what submits to it, and when its jobs ended."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import asyncpg

from benchmarks.load.http import Endpoint
from benchmarks.load.plan import Plan, Submitted
from benchmarks.systems.marks import Marks
from benchmarks.systems.programs import ProgramFailed, Programs

LOOK_S: Final = 0.25
STALL_S: Final = 30.0
"""So long without a job's end, and a launch has failed."""
CALL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a system keeps the results of jobs: rows, each with the database's time at which it was written."""

    url: str
    count: str
    """A statement that returns how many have ended."""
    ends: str
    """A statement that returns for each its number and its end, a timestamptz."""


@dataclass(frozen=True, slots=True)
class System:
    """What runs. A job ends when its result is stored, or where none is, when its handler returns."""

    programs: Programs
    marks: Marks
    submitter: str | Endpoint
    """The module of a process that submits, or where to post to."""
    stored: Stored | None = None

    async def submit(self, plan: Plan) -> Submitted:
        """Submit from a process of its own."""
        if isinstance(self.submitter, Endpoint):
            module, told = "benchmarks.load.http", plan.encode(endpoint=asdict(self.submitter))
        else:
            module, told = self.submitter, plan.encode()
        return Submitted.decode(await self.programs.call(module, stdin=told, timeout_s=plan.timeout_s + 30))

    async def until_ended(self, jobs: int) -> None:
        """Wait until so many jobs have ended since the start; ProgramFailed when none does for a while."""
        seen, looked = -1, time.monotonic()
        while (ended := await self._ended(jobs)) < jobs:
            if ended > seen:
                seen, looked = ended, time.monotonic()
            elif time.monotonic() - looked > STALL_S:
                raise ProgramFailed(f"{ended} of {jobs} jobs ended, then none for {STALL_S:g} s{self.programs.tails()}")
            await asyncio.sleep(LOOK_S)

    async def ends(self, wall_ns: int) -> Mapping[int, int]:
        """Return when each job ended, by number, on the clock of `time.monotonic_ns`."""
        if self.stored is None:
            return {mark.number: mark.ended_ns for mark in self.marks.read()}
        rows = await _fetch(self.stored.url, self.stored.ends)
        return {int(number): int(at.timestamp() * 1e6) * 1000 - wall_ns for number, at in rows}

    async def _ended(self, wanted: int) -> int:
        # Only once all handlers have returned is the database asked: a look at a file costs nobody anything.
        marked = self.marks.count()
        if self.stored is None or marked < wanted:
            return marked if self.stored is None else min(marked, wanted - 1)
        ((count,),) = await _fetch(self.stored.url, self.stored.count)
        return int(count)


async def _fetch(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url, timeout=CALL_S)
    try:
        return list(await connection.fetch(statement, timeout=CALL_S))
    finally:
        await connection.close(timeout=CALL_S)
