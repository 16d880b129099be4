"""Orchestrators alone, as many as are wanted, over Postgres and RabbitMQ."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.model import Scene
from distriqueue.store import schema
from tests.acceptance.cluster import Cluster, cluster, together


@asynccontextmanager
async def orchestrators(scene: Scene, count: int) -> AsyncIterator[Cluster]:
    """Yield a cluster that has a leader; it ends with the block, which fails when a node has logged an error."""
    scene.progress(f"starting {count} orchestrators")
    database_url = await scene.database()
    broker = {"DISTRIQUEUE_BROKER_URL": await scene.rabbitmq()}
    await schema.migrate(database_url)
    async with cluster(scene.home, database_url, count=count, start=False) as nodes:
        for node in nodes.nodes:
            node.env |= broker
        await together(*(node.start for node in nodes.nodes))
        await nodes.settled()
        yield nodes
