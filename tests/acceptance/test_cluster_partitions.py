"""Partitions: whole, one-way, and a graph in which not everyone sees everyone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.acceptance.cluster import Cluster, cluster, until
from tests.acceptance.networks import Network, forwarded, network

pytestmark = pytest.mark.stack


@asynccontextmanager
async def apart(
    home: Path, database_url: str, count: int, *, start: bool = True
) -> AsyncIterator[tuple[Cluster, Network]]:
    """Start each node in a namespace of its own."""
    with network(count) as net:
        parts = urlsplit(database_url)
        async with forwarded(net.gateway, parts.port or 0) as port:
            inside = urlunsplit(parts._replace(netloc=f"{parts.username}@{net.gateway}:{port}"))
            async with cluster(
                home,
                database_url,
                count=count,
                hosts=net.hosts,
                node_database_url=inside,
                prefixes=[net.prefix(name) for name in net.names],
                start=start,
            ) as nodes:
                yield nodes, net


async def test_an_isolated_leader_is_replaced_and_steps_down(tmp_path: Path, database_url: str) -> None:
    async with apart(tmp_path, database_url, 3) as (three, net):
        old = await three.settled()
        others = [node for node in three.nodes if node is not old]
        net.isolate(old.name)

        async def stepped_down() -> bool:
            return (await three.status(old)).get("role") != "leader"

        await until(stepped_down, "the isolated leader to step down", timeout_s=3)
        new = await three.settled(others)
        assert new is not old
        await three.promoted(await three.due_job())
        term = await three.term()
        net.heal()
        assert await three.settled() is new
        await asyncio.sleep(2.5)  # longer than the longest election timeout
        assert (await three.settled(), await three.term()) == (new, term)


async def test_one_way_loss_ends_in_one_leader_that_stays(tmp_path: Path, database_url: str) -> None:
    async with apart(tmp_path, database_url, 3) as (three, net):
        leader = await three.settled()
        follower, other = (node for node in three.nodes if node is not leader)
        # One follower is not heard by anyone, and hears all: it must not depose a leader that the other follows.
        term = await three.term()
        net.cut(follower.name, leader.name)
        net.cut(follower.name, other.name)
        await asyncio.sleep(3)
        assert (await three.settled([leader, other]), await three.term()) == (leader, term)
        net.heal()
        await three.settled()
        # Now it hears nobody, and what it sends on connections that are open still arrives.
        net.cut(leader.name, follower.name)
        net.cut(other.name, follower.name)
        await asyncio.sleep(3)
        assert (await three.settled([leader, other]), await three.term()) == (leader, term)
        net.heal()
        await three.settled()
        # The leader hears all and is heard by none: it loses its quorum, and one that is heard takes over.
        leader = await three.settled()
        heard = [node for node in three.nodes if node is not leader]
        for node in heard:
            net.cut(leader.name, node.name)
        assert await three.settled(heard) in heard
        assert (await three.status(leader))["role"] != "leader"
        await three.promoted(await three.due_job())


async def test_a_graph_with_holes_settles_and_stays(tmp_path: Path, database_url: str) -> None:
    async with apart(tmp_path, database_url, 5, start=False) as (five, net):
        first, second, third, fourth, fifth = net.names
        for hole in ((fourth, first), (fourth, third), (fourth, fifth), (fifth, first), (fifth, second)):
            net.cut_both(*hole)
        for node in five.nodes:
            await node.start()
        core = [five.node(name) for name in (first, second, third)]
        leader = await five.settled(core)
        term = await five.term()
        await asyncio.sleep(6)  # three of the longest election timeouts
        assert (await five.settled(core), await five.term()) == (leader, term)
        assert [epoch for epoch, _ in await five.history()] == [term]
        await five.promoted(await five.due_job())
