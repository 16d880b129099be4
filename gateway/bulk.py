"""One action on many jobs: a bounded batch per transaction, newest first, for a bounded time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from uuid import UUID

from distriqueue.core.states import RETRIABLE, TERMINAL, Status
from distriqueue.store.jobs import JobStore
from distriqueue.store.reads import JobFilter, JobReader, Position
from gateway.publisher import Publisher

Action = Literal["cancel", "retry"]

BATCH: Final = 500
LIMIT: Final = 10_000
"""Most jobs of one call."""
TIME_S: Final = 8.0
"""What is not done by then is left to the next call."""
SHOWN: Final = 100

POSSIBLE: Final[dict[Action, frozenset[Status]]] = {"cancel": frozenset(Status) - TERMINAL, "retry": RETRIABLE}


@dataclass(slots=True)
class Done:
    """What became of it."""

    matched: int = 0
    changed: int = 0
    more: bool = False
    """There are more jobs than the limit or the time allowed."""
    job_ids: list[UUID] = field(default_factory=list)
    """The newest of those that were changed."""


class Bulk:
    """Cancels and retries by filter."""

    def __init__(self, jobs: JobStore, reader: JobReader, publisher: Publisher) -> None:
        self._jobs = jobs
        self._reader = reader
        self._publisher = publisher

    async def count(self, action: Action, where: JobFilter, *, limit: int) -> Done:
        """Say how many it would be."""
        found = await self._reader.positions(_possible(action, where), size=limit + 1)
        ids = [position.id for position in found[:SHOWN]]
        return Done(matched=min(len(found), limit), more=len(found) > limit, job_ids=ids)

    async def run(self, action: Action, where: JobFilter, *, limit: int, per_s: float | None = None) -> Done:
        """Do it; with `per_s`, retries are spread over time. Each batch is committed before the next begins."""
        possible = _possible(action, where)
        deadline = time.monotonic() + TIME_S
        done = Done()
        after: Position | None = None
        while done.matched < limit and time.monotonic() < deadline:
            size = min(BATCH, limit - done.matched)
            found = await self._reader.positions(possible, size=size, after=after)
            ids = [position.id for position in found]
            changed = await self._change(action, ids, per_s=per_s, before=done.matched)
            done.matched += len(ids)
            done.changed += len(changed)
            done.job_ids += [job_id for job_id in ids if job_id in changed][: SHOWN - len(done.job_ids)]
            if len(found) < size:
                return done
            after = found[-1]
        done.more = bool(await self._reader.positions(possible, size=1, after=after))
        return done

    async def _change(self, action: Action, ids: Sequence[UUID], *, per_s: float | None, before: int) -> set[UUID]:
        if not ids:
            return set()
        if action == "cancel":
            cancelled = await self._jobs.cancel_many(ids)
            self._publisher.offer(cancelled.ready)
            return set(cancelled.statuses)
        retried = await self._jobs.retry_many(ids, per_s=per_s, before=before)
        self._publisher.offer(retried.ready)
        return set(retried.ids)


def _possible(action: Action, where: JobFilter) -> JobFilter:
    """Leave out the statuses in which nothing can be done."""
    wanted = POSSIBLE[action].intersection(where.statuses) if where.statuses else POSSIBLE[action]
    # What no job has, for a filter that asks for none of the possible ones.
    return replace(where, statuses=tuple(sorted(wanted)), ids=where.ids if wanted else (UUID(int=0),))
