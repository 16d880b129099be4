"""A running store for a machine that plays with it: an event loop, the stores, and what time does to rows."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from distriqueue.core.job import Priority
from distriqueue.core.messages import Heartbeat
from distriqueue.settings import StoreSettings
from distriqueue.store.database import Database
from distriqueue.store.duties import DutyStore, Reaped
from distriqueue.store.jobs import JobStore
from distriqueue.store.leadership import LeadershipStore
from distriqueue.store.reports import ReportStore
from distriqueue.store.routing import Routing, RoutingStore
from distriqueue.store.submissions import SubmissionStore
from distriqueue.store.workers import WorkerStore
from tests.integration.lives.moves import WORKERS

T = TypeVar("T")

EPOCH: Final = 1
PATIENCE_S: Final = 30.0
SLOW_S: Final = 1_000_000.0
"""A rate limit's period in which no token grows while anyone looks."""
TABLES: Final = "jobs, attempts, dependencies, follow_ups, batches, batch_webhooks, events, rate_limits, workers"
JOBS: Final = """
    SELECT j.id, j.type, j.priority, j.status, j.attempt, j.failures, j.losses, j.max_retries, j.cancel_requested,
           j.worker_id, j.ready_at, j.concurrency_key, j.concurrency_limit, j.unique_key,
           j.callback_url, j.batch_id, j.waits_for,
           coalesce(j.expires_at <= now(), false) AS is_late, j.ready_at <= now() AS is_ready,
           coalesce(b.stopped, false) AS is_stopped, f.job_id IS NOT NULL AS is_left
      FROM jobs j LEFT JOIN batches b ON b.id = j.batch_id LEFT JOIN follow_ups f ON f.job_id = j.id
     ORDER BY j.id"""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the store holds, and what has happened since the last look."""

    events: Sequence[Any]
    jobs: Sequence[Any]
    edges: Sequence[Any]


@dataclass(slots=True)
class Tally:
    """What a search has done."""

    examples: int = 0
    rules: int = 0
    steps: int = 0
    """Transactions, or two at once, after each of which everything was looked at."""
    events: int = 0
    collisions: int = 0
    """Transactions that gave up, each having collided with another again and again."""
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)


class Ground:
    """The stores over one database that all examples share, one after the other."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        self.tally = Tally()
        self.database = database
        self.jobs = JobStore(database)
        self.submissions = SubmissionStore(database)
        # By this clock the copy of the routes is stale whenever it is asked for.
        self.reports = ReportStore(database, Routing(RoutingStore(database), clock=count(step=10).__next__))
        self.duties = DutyStore(database)
        self.workers = WorkerStore(database)
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for it, but not for ever."""
        return self._runner.run(asyncio.wait_for(work, PATIENCE_S))

    async def clear(self) -> None:
        """Begin anew: no jobs, nothing limited or paused, and all workers well."""
        await self.database.fetch(f"TRUNCATE {TABLES}")
        await self.database.fetch("UPDATE lane_controls SET paused = false WHERE paused")
        await self.heartbeats()

    async def look(self, after: int) -> Seen:
        """Return everything, and the events after that number."""
        async with self.database.connection() as connection:
            events = await connection.fetch("SELECT * FROM events WHERE seq > $1 ORDER BY seq", after)
            jobs = await connection.fetch(JOBS)
            edges = await connection.fetch("SELECT parent_id, child_id, needed, resolved FROM dependencies")
        return Seen(events, jobs, edges)

    async def batches(self) -> list[Any]:
        """Return of each batch with jobs of its own how many webhooks it has made, and how many it is to make."""
        return await self.database.fetch(
            "SELECT b.id, count(w.*) AS webhooks, (b.callback_url IS NOT NULL)::int AS wanted"
            "  FROM batches b LEFT JOIN batch_webhooks w ON w.batch_id = b.id"
            " WHERE EXISTS (SELECT FROM jobs j WHERE j.batch_id = b.id) GROUP BY b.id"
        )

    async def heartbeats(self) -> None:
        """All workers are heard."""
        await self.workers.record([Heartbeat(worker_id=each) for each in WORKERS])

    async def fall_due(self, ids: Sequence[UUID]) -> None:
        """The time comes for which these wait."""
        await self._bend(ids, "due_at = now() - interval '1 s'", "status IN ('scheduled', 'retrying')")

    async def run_late(self, ids: Sequence[UUID]) -> None:
        """These have waited for too long to start."""
        await self._bend(ids, "expires_at = now() - interval '1 s'", "expires_at IS NOT NULL AND finished_at IS NULL")

    async def overrun(self, ids: Sequence[UUID]) -> None:
        """These run for far too long."""
        await self._bend(ids, "started_at = now() - interval '1 day'", "status = 'running'")

    async def silence(self, worker_id: str) -> None:
        """A worker was not heard for a while, and has claimed nothing since."""
        await self.database.fetch("UPDATE workers SET last_seen = now() - interval '1 min' WHERE id = $1", worker_id)
        await self.database.fetch(
            "UPDATE jobs SET started_at = now() - interval '1 min' WHERE worker_id = $1 AND status = 'running'",
            worker_id,
        )

    async def reap(self, *, limit: int) -> Reaped:
        """The reaper's transaction, heartbeats having been recorded without a gap until now."""
        at = (await self.database.fetch("SELECT now() AS at"))[0]["at"]
        return await self.duties.reap(recorded_at=at, silence_s=5, unheard_s=3600, grace_s=10, limit=limit, epoch=EPOCH)

    async def set_tokens(self, type_: str, tokens: int | None) -> None:
        """So many jobs of the type may start, and no more after them; None: as many as like."""
        if tokens is None:
            await self.database.fetch("DELETE FROM rate_limits WHERE type = $1", type_)
        else:
            await self.database.fetch(
                "INSERT INTO rate_limits (type, permits, per_s, tokens) VALUES ($1, 5, $3, $2)"
                " ON CONFLICT (type) DO UPDATE"
                " SET tokens = $2, filled_at = clock_timestamp(), next_slot = clock_timestamp()",
                type_,
                float(tokens),
                SLOW_S,
            )
        await self.database.fetch(
            "UPDATE jobs SET rate_slot = now(), ready_at = now() WHERE type = $1 AND rate_slot > now()", type_
        )

    async def pause(self, lane: Priority, *, paused: bool) -> None:
        """A lane rests, or goes on."""
        store = RoutingStore(self.database)
        await (store.pause(lane) if paused else store.resume(lane))

    async def _bend(self, ids: Sequence[UUID], change: str, where: str) -> None:
        await self.database.fetch(f"UPDATE jobs SET {change} WHERE id = ANY ($1::uuid[]) AND {where}", ids)


@contextmanager
def ground(url: str) -> Iterator[Ground]:
    """Yield stores over a migrated database, led in epoch 1 since long ago."""
    settings = StoreSettings.load(database_url=url, store_timeout=10.0)
    with asyncio.Runner() as runner:
        runner.run(_find_collisions_soon(url))
        stack = AsyncExitStack()
        database = runner.run(stack.enter_async_context(Database.open(settings, application="machine")))
        try:
            assert runner.run(LeadershipStore(database).claim(EPOCH, node="n", boot="b")).won
            runner.run(database.fetch("UPDATE leadership SET claimed_at = now() - interval '1 day'"))
            yield Ground(runner, database)
        finally:
            runner.run(stack.aclose())


async def _find_collisions_soon(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'")
    finally:
        await connection.close(timeout=10)
