"""A thousand jobs that wait for each other, on real workers, over each broker."""

import random
from collections import Counter
from typing import Any, Final
from uuid import UUID

import pytest

from distriqueue.core.job import new_job_id
from tests.acceptance.client import call
from tests.acceptance.stack import Ground, Platform

pytestmark = pytest.mark.stack

JOBS: Final = 1000
MAX_PARENTS: Final = 3
NEAR: Final = 40
"""Parents are among so many jobs before their child, so that the graph is deep as well as wide."""

Graph = dict[UUID, tuple[UUID, ...]]


def random_graph(seed: int) -> Graph:
    """Return each job's parents, all of which come before it."""
    rng = random.Random(seed)
    graph: Graph = {}
    before: list[UUID] = []
    for _ in range(JOBS):
        near = before[-NEAR:]
        job_id = new_job_id()
        graph[job_id] = tuple(rng.sample(near, min(len(near), rng.randint(0, MAX_PARENTS))))
        before.append(job_id)
    return graph


def descendants(graph: Graph, of: UUID) -> set[UUID]:
    """Return all jobs that wait for this one, directly or not."""
    found = {of}
    for job_id, parents in graph.items():
        if found.intersection(parents):
            found.add(job_id)
    return found - {of}


async def post(platform: Platform, graph: Graph, *, failing: UUID | None = None) -> None:
    jobs: list[dict[str, Any]] = [
        {"id": str(job_id), "type": "record", "dependsOn": [str(parent) for parent in parents]}
        for job_id, parents in graph.items()
    ]
    for job in jobs:
        if job["id"] == str(failing):
            job |= {"type": "fail_n_times", "payload": {"times": 1}, "maxRetries": 0}
    random.Random(1).shuffle(jobs)  # a child may well come before its parents
    reply = await call(platform.url, "POST", "/api/jobs/batch", {"jobs": jobs})
    assert reply.status == 202, reply


async def test_a_random_graph_completes_in_the_order_of_its_dependencies(ground: Ground) -> None:
    graph = random_graph(1)
    async with ground.platform(gateways=2, workers=2, capacity=20) as platform:
        await post(platform, graph)
        await platform.until_over(timeout_s=60)
        assert await platform.statuses() == Counter(completed=JOBS)
        [early] = await platform.sql(
            "SELECT count(*) FROM dependencies d JOIN jobs p ON p.id = d.parent_id JOIN jobs c ON c.id = d.child_id"
            " WHERE c.started_at < p.finished_at"
        )
        assert early["count"] == 0
        [edges] = await platform.sql("SELECT count(*) FROM dependencies WHERE resolved")
        assert edges["count"] == sum(map(len, graph.values()))
        platform.ledger.assert_each_once([str(job_id) for job_id in graph])


async def test_a_failing_job_cancels_exactly_its_descendants(ground: Ground) -> None:
    graph = random_graph(2)
    failing = list(graph)[60]
    cut = descendants(graph, failing)
    assert 100 < len(cut) < JOBS - 100
    async with ground.platform(gateways=2, workers=2, capacity=20) as platform:
        await post(platform, graph, failing=failing)
        await platform.until_over(timeout_s=60)
        rows = await platform.sql("SELECT id, status FROM jobs")
        found = {UUID(str(row["id"])): row["status"] for row in rows}
        assert {job_id for job_id, status in found.items() if status == "cancelled"} == cut
        assert Counter(found.values()) == Counter(cancelled=len(cut), failed=1, completed=JOBS - 1 - len(cut))
