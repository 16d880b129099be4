"""Three nodes whose leader is killed, terminated, frozen and fenced, and that lose their disks."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from distriqueue.local.ports import free_block
from tests.acceptance.cluster import LOOPBACK, Cluster, Node, cluster, together
from tests.servers.process import ServerFailed

pytestmark = pytest.mark.stack

FAILOVER_S = 3.0
GAP_S = 0.5


@pytest.fixture
async def three(tmp_path: Path, database_url: str) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, database_url) as nodes:
        yield nodes


async def test_a_killed_leader_is_replaced_and_comes_back_without_an_election(three: Cluster) -> None:
    for _ in range(2):
        assert await three.failover_s() < FAILOVER_S
        leader, term = await three.settled(), await three.term()
        dead = next(node for node in three.nodes if not node.is_running)
        await dead.start()
        assert await three.settled() is leader
    # Longer than the longest election timeout: it would have stood by now.
    await asyncio.sleep(2.5)
    assert (await three.settled(), await three.term()) == (leader, term)
    epochs = [epoch for epoch, _ in await three.history()]
    assert epochs == sorted(set(epochs))


async def test_a_terminated_leader_hands_over(three: Cluster) -> None:
    for _ in range(2):
        assert await three.handover_gap_s() <= GAP_S
        await next(node for node in three.nodes if not node.is_running).start()


async def test_step_down_moves_leadership_to_the_node_named(three: Cluster) -> None:
    leader = await three.settled()
    target = next(node for node in three.nodes if node is not leader)
    moved = await three.client.post(f"{leader.url}/api/cluster/step-down", json={"to": target.name})
    assert moved.json() == {"node": leader.name, "leader": target.name}
    assert await three.settled() is target
    again = await three.client.post(f"{leader.url}/api/cluster/step-down", json={})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    form = await three.client.post(f"{target.url}/api/cluster/step-down", content=b"{}")
    assert form.status_code == 422  # what a page of another site could send


async def test_a_leader_frozen_in_a_transaction_is_replaced_and_its_commit_never_counts(three: Cluster) -> None:
    leader, epoch = await three.settled(), await three.epoch()
    async with three.promotion_held() as held:
        leader.freeze()
    frozen_at = time.monotonic()
    try:
        others = [node for node in three.nodes if node is not leader]
        assert await three.promoted(held) - frozen_at < FAILOVER_S
        assert await three.promoted(await three.due_job()) - frozen_at < FAILOVER_S
        await asyncio.sleep(10 - (time.monotonic() - frozen_at))
        new = await three.settled(others)
        claimed = await three.epoch()
        assert claimed > epoch
    finally:
        leader.thaw()
    assert await three.settled() is new
    assert await three.epoch() == claimed
    assert await three.promotions(held) == 1
    assert (await three.status(leader))["role"] == "follower"


async def test_a_commit_after_a_newer_claim_is_refused_and_the_leader_claims_above(three: Cluster) -> None:
    leader, epoch = await three.settled(), await three.epoch()
    async with three.promotion_held() as held:
        # Another claims, and ends nobody's connections: only the fence is left.
        await three.sql.execute("UPDATE leadership SET epoch = $1, node = 'other', boot = 'other'", epoch + 100)
    await three.promoted(held)
    assert await three.promotions(held) == 1
    assert await three.epoch() > epoch + 100
    metrics = (await three.client.get(f"{leader.url}/metrics")).text
    assert "distriqueue_fenced_commits_total 0.0" not in metrics
    await three.settled()


async def test_wiped_disks_bring_no_two_leaders_of_one_epoch(three: Cluster) -> None:
    first = await three.settled()
    follower = next(node for node in three.nodes if node is not first)
    await follower.kill()
    follower.wipe()
    leader, term = await three.settled(), await three.term()
    await follower.start()
    assert (await three.settled(), await three.term()) == (leader, term)
    await three.failover_s()
    await together(*(node.kill for node in three.running))
    last = await three.epoch()
    for node in three.nodes:
        node.wipe()
    # Far above what the nodes would reach one term at a time: they must learn it.
    await three.sql.execute("UPDATE leadership SET epoch = epoch + 1000")
    await together(*(node.start for node in three.nodes))
    await three.settled()
    assert await three.epoch() > last + 1000
    await three.promoted(await three.due_job())
    epochs = [epoch for epoch, _ in await three.history()]
    assert epochs == sorted(set(epochs))


async def test_a_second_process_with_the_same_directory_does_not_start(three: Cluster, tmp_path: Path) -> None:
    first = three.nodes[0]
    term = await three.term()
    port = free_block(2)
    twin = Node(first.name, tmp_path / "twin", first.env, host=LOOPBACK, port=port, raft_port=port + 1)
    (tmp_path / "twin").mkdir()
    with pytest.raises(
        ServerFailed, match=rf"ended with 2:\n.*is in use by another orchestrator \(process {first.pid}\)"
    ):
        await twin.start(DISTRIQUEUE_ORCHESTRATOR_PORT=str(port), DISTRIQUEUE_RAFT_PORT=str(port + 1))
    await three.settled()
    assert await three.term() == term
