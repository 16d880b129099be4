"""Server-sent events: a client cut off again and again, between two gateways, sees each event once, in order."""

import asyncio
import random
from collections import defaultdict
from itertools import cycle
from typing import Final

import pytest

from tests.acceptance.client import ServerSent, accepted, events, submit
from tests.acceptance.stack import Ground
from tests.acceptance.test_exactly_once import mixed

pytestmark = pytest.mark.stack

JOBS: Final = 5000
TIMELINE: Final = ("pending", "queued", "running", "completed")
FEWEST_CUTS: Final = 10


async def test_a_client_that_is_cut_off_misses_nothing_and_sees_nothing_twice(ground: Ground) -> None:
    async with ground.platform(gateways=2, workers=2, capacity=20) as platform:
        seen: list[ServerSent] = []
        cuts = 0
        following = asyncio.Event()

        async def follow() -> None:
            nonlocal cuts
            rng = random.Random(5)
            cursor: int | None = None
            ended = 0
            for url in cycle(platform.urls):
                left = rng.randrange(1, 2 * JOBS * len(TIMELINE) // 40)
                async with asyncio.timeout(60), events(url, after=cursor) as stream:
                    async for event in stream:
                        assert event.name in ("connected", "job-update"), event
                        if event.name == "connected":
                            assert cursor in (None, event.id)
                            cursor = event.id
                            following.set()
                            continue
                        seen.append(event)
                        cursor = event.id
                        ended += event.data["status"] == "completed"
                        left -= 1
                        if ended == JOBS:
                            return
                        if left == 0:
                            break
                cuts += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(follow())
            await asyncio.wait_for(following.wait(), 10)
            ids = accepted(await submit(platform.urls, mixed(JOBS)))
        assert len(ids) == JOBS
        print(f"{len(seen)} events, {cuts} cuts")
        assert cuts >= FEWEST_CUTS
        stored = [row["seq"] for row in await platform.sql("SELECT seq FROM events ORDER BY seq")]
        numbers = [event.id for event in seen]
        assert numbers == stored[: len(numbers)]
        # What came after the last job's end can only be late confirms, and there are none: the end is the last of all.
        assert len(numbers) == len(stored)
        timelines: dict[str, list[str]] = defaultdict(list)
        for event in seen:
            timelines[event.data["jobId"]].append(event.data["status"])
        assert set(timelines) == set(ids)
        # A claim may overtake the confirm of its publish: then there is no `queued`.
        orders = {tuple(each) for each in timelines.values()}
        assert orders <= {TIMELINE, tuple(status for status in TIMELINE if status != "queued")}


async def test_one_jobs_stream_ends_with_its_story(ground: Ground) -> None:
    async with ground.platform(gateways=2) as platform:
        first, second = platform.urls
        (job_id,) = accepted(await submit([first], [{"type": "record", "payload": {"ms": 300}}]))
        told = []
        async with asyncio.timeout(20), events(second, after=0, query=f"?jobId={job_id}") as stream:
            async for event in stream:
                told.append(event.data.get("status"))
                if told[-1] == "completed":
                    break
        assert [status for status in told if status not in (None, "queued")] == ["pending", "running", "completed"]
