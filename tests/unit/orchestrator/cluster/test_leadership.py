"""How an elected node comes into office, and out of it. The election is real, that of a node alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from distriqueue.core.errors import Conflict, StoreUnavailable
from distriqueue.store.leadership import ClaimResult
from orchestrator.cluster.election import Election, config_of
from orchestrator.cluster.leadership import ESTABLISH_S, STANDSTILL_S, ClusterLeadership
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.office import Verdict
from orchestrator.cluster.storage import MemoryStorage


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
    end_fails: bool = False

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
        if self.end_fails:
            raise StoreUnavailable("away")
        return 0


@dataclass
class Health:
    """What the process knows of itself."""

    progressed_at: float = 0.0
    reaches_store: bool = True


def leadership_of(table: FakeTable, health: Health | None = None, **options: Any) -> ClusterLeadership:
    store: Any = table
    known = health or Health()
    config = config_of(heartbeat_s=0.15, election_timeout_s=1.0)
    membership = Membership("c", "node1", {"node1": ""}, b"")
    return ClusterLeadership(
        store,
        Election(membership, MemoryStorage(), config, boot="boot1"),
        bound=None,
        progressed_at=lambda: known.progressed_at,
        reaches_store=lambda: known.reaches_store,
        rng=Never(),
        **options,
    )


@contextlib.asynccontextmanager
async def leading(table: FakeTable) -> AsyncIterator[tuple[ClusterLeadership, asyncio.Event]]:
    leadership = leadership_of(table)
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
        assert leadership.figures().wins == 2


async def test_claims_again_after_the_fence() -> None:
    table = FakeTable()
    async with leading(table) as (leadership, changed):
        table.epoch = 5
        leadership.fenced(1)
        assert leadership.epoch() is None
        changed.clear()
        await changed.wait()
        assert leadership.epoch() == 6
        assert leadership.figures().fenced == 1


async def test_the_fence_of_an_older_epoch_is_old_news() -> None:
    async with leading(FakeTable(epoch=5)) as (leadership, _):
        leadership.fenced(5)
        assert leadership.epoch() == 6


async def test_waits_for_postgres_and_repeats_the_same_claim() -> None:
    table = FakeTable(failures=2)
    async with leading(table) as (leadership, _):
        assert (leadership.epoch(), table.claims) == (1, [1, 1, 1])


async def test_leads_although_the_former_leaders_connections_could_not_be_ended() -> None:
    async with leading(FakeTable(end_fails=True)) as (leadership, _):
        assert leadership.epoch() == 1


async def test_a_node_alone_has_nobody_to_hand_over_to() -> None:
    async with leading(FakeTable()) as (leadership, _):
        with pytest.raises(Conflict, match="alone"):
            await leadership.step_down()
    with pytest.raises(Conflict, match="does not lead: nobody does"):
        await leadership_of(FakeTable()).step_down()


async def test_no_epoch_without_a_lease() -> None:
    leadership = leadership_of(FakeTable(epoch=1))
    leadership._hold(1)
    assert leadership.epoch() is None


async def test_who_is_not_established_in_time_is_to_resign() -> None:
    leadership = leadership_of(FakeTable())
    judge = leadership._judge
    assert judge(1, ESTABLISH_S) is Verdict.STAY
    assert judge(1, ESTABLISH_S + 0.1) is Verdict.RESIGN
    leadership._hold(1)
    assert judge(1, ESTABLISH_S + 0.1) is Verdict.STAY


@pytest.mark.parametrize("broken", ["duties", "store"])
async def test_whose_duties_stand_still_is_to_hand_over(broken: str) -> None:
    now, health = [100.0], Health(progressed_at=100.0)
    leadership = leadership_of(FakeTable(), health, clock=lambda: now[0])
    leadership._hold(1)
    now[0] += STANDSTILL_S + 1
    health.progressed_at = 100.0 if broken == "duties" else now[0]
    health.reaches_store = broken == "duties"
    assert leadership._judge(1, 60.0) is Verdict.HAND_OVER
    health.progressed_at, health.reaches_store = now[0], True
    assert leadership._judge(1, 60.0) is Verdict.STAY


async def test_who_leaves_is_not_called_late() -> None:
    async with leading(FakeTable()) as (leadership, _):
        pass
    assert leadership._judge(1, ESTABLISH_S + 0.1) is Verdict.STAY
