"""Postgres crashes under load and comes back: what was acknowledged is there, runs, and no attempt of it twice."""

import asyncio
import time
from collections import Counter
from typing import Final

import pytest

from tests.acceptance.client import accepted, submit
from tests.acceptance.ledger import END
from tests.acceptance.stack import Ground
from tests.acceptance.test_exactly_once import mixed
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.stack

JOBS: Final = 2000
AWAY_S: Final = 5.5
"""Longer than a worker may be silent: an outage of ours is not to be taken for the death of healthy workers."""


async def test_postgres_crashes_and_comes_back(ground: Ground, postgres_server: PostgresServer) -> None:
    async with ground.platform(workers=2, capacity=20) as platform:
        async with asyncio.TaskGroup() as group:
            submitting = group.create_task(submit(platform.urls, mixed(JOBS, ms=30), connections=8))
            try:
                await platform.until(lambda: platform.ledger.count(END) > JOBS // 10, "a tenth of the jobs")
                await asyncio.to_thread(postgres_server.kill)
                await asyncio.sleep(AWAY_S)
            finally:
                await asyncio.to_thread(postgres_server.start)
            back_at = time.monotonic()
        replies = submitting.result()
        ids = accepted(replies)
        print(f"answers: {Counter(reply.status for reply in replies)}")
        assert {reply.status for reply in replies} <= {202, 503}
        # What came during the outage is tried again by its client, as a 503 asks for.
        ids += accepted(await submit(platform.urls, mixed(JOBS - len(ids), ms=30)))
        assert len(ids) == JOBS
        await platform.until_over(timeout_s=60)
        print(f"all over {time.monotonic() - back_at:.1f} s after it was back")
        rows = await platform.sql("SELECT id::text, status, attempt FROM jobs")
        assert set(ids) <= {row["id"] for row in rows}
        assert {row["status"] for row in rows} == {"completed"}
        assert platform.ledger.twice() == []
        # The workers were well all the time: nobody may have taken their silence for death and run a job again.
        platform.ledger.assert_each_once([row["id"] for row in rows])
        assert {row["attempt"] for row in rows} == {1}
