"""How a node alone claims, loses and claims again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from distriqueue.core.errors import StoreUnavailable
from distriqueue.store.leadership import ClaimResult
from orchestrator.cluster.leadership import SoleLeadership


class Never:
    """Randomness that makes every backoff the shortest."""

    def random(self) -> float:
        return 0.0


@dataclass
class FakeTable:
    """The row of `leadership`."""

    epoch: int = 0
    failures: int = 0
    claims: list[int] = field(default_factory=list)
    ended: int = 0

    async def claim(self, term: int, *, node: str, boot: str) -> ClaimResult:
        assert (node, boot) == ("node1", "boot1")
        self.claims.append(term)
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        if term <= self.epoch:
            return ClaimResult(won=False, epoch=self.epoch)
        self.epoch = term
        return ClaimResult(won=True, epoch=term)

    async def end_others(self, *, boot: str) -> int:
        assert boot == "boot1"
        self.ended += 1
        return 0


@contextlib.asynccontextmanager
async def leading(table: FakeTable) -> AsyncIterator[tuple[SoleLeadership, asyncio.Event]]:
    store: Any = table
    leadership = SoleLeadership(store, node="node1", boot="boot1", rng=Never())
    changed, stop = asyncio.Event(), asyncio.Event()
    leadership.watch(changed.set)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(leadership.run(stop))
        try:
            await changed.wait()
            changed.clear()
            yield leadership, changed
        finally:
            stop.set()
    assert leadership.epoch() is None


async def test_claims_above_what_the_table_says() -> None:
    table = FakeTable(epoch=41)
    async with leading(table) as (leadership, _):
        assert (leadership.epoch(), table.claims, table.ended) == (42, [1, 42], 1)
        status = leadership.status()
        assert (status.role, status.term, status.leader, status.established) == ("leader", 42, "node1", True)


async def test_claims_again_after_the_fence() -> None:
    table = FakeTable()
    async with leading(table) as (leadership, changed):
        table.epoch = 5
        leadership.fenced(1)
        assert leadership.epoch() is None
        assert leadership.status().role == "candidate"
        changed.clear()
        await changed.wait()
        assert leadership.epoch() == 6


async def test_the_fence_of_an_older_epoch_is_old_news() -> None:
    async with leading(FakeTable(epoch=5)) as (leadership, _):
        leadership.fenced(5)
        assert leadership.epoch() == 6


async def test_waits_for_postgres_and_repeats_the_same_claim() -> None:
    table = FakeTable(failures=2)
    async with leading(table) as (leadership, _):
        assert (leadership.epoch(), table.claims) == (1, [1, 1, 1])
