"""RabbitMQ away while jobs come in: every submission is acknowledged, and every job runs once it is back."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.client import Reply, submit
from tests.acceptance.stack import Ground
from tests.conftest import forget_topology
from tests.servers.rabbitmq import RabbitMQServer

pytestmark = [pytest.mark.stack, pytest.mark.rabbitmq]

JOBS = 3000
WARM_UP = 50
SETTLED_S = 3.0
"""RabbitMQ 3.10 may not find a queue again that it was killed within 1.5 s of making (docs/adr/0003)."""


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_rabbitmq_is_away_during_submissions(
    how: str, tmp_path: Path, database_url: str, rabbitmq_server: RabbitMQServer
) -> None:
    await forget_topology(rabbitmq_server.url)
    ground = Ground(tmp_path, database_url, rabbitmq_server.url)
    # Losing its broker is an error to the client library: it may say so.
    async with ground.platform(workers=2, capacity=20, tolerated=("aiormq", "aio_pika")) as platform:
        job = {"type": "record", "payload": {"ms": 5}}
        submitted: list[list[Reply]] = []
        made_at = time.monotonic()

        async def send(count: int) -> None:
            submitted.append(await submit(platform.urls, (job for _ in range(count)), connections=16))

        end = rabbitmq_server.stop if how == "stopped" else rabbitmq_server.kill
        await send(WARM_UP)
        await platform.until(lambda: time.monotonic() > made_at + SETTLED_S, "queues that have settled")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(send(JOBS // 2))
                await platform.until(lambda: platform.ledger.count("end") > WARM_UP + 100, "the first jobs to run")
                await asyncio.to_thread(end)
            began_at = time.monotonic()
            await send(JOBS // 2)  # every one of these while there is no broker
            print(f"{how}: {JOBS // 2 / (time.monotonic() - began_at):.0f} submissions/s without a broker")
        finally:
            await asyncio.to_thread(rabbitmq_server.start)
        back_at = time.monotonic()
        replies = [reply for part in submitted for reply in part]
        assert {reply.status for reply in replies} == {202}
        await platform.until_over(timeout_s=60)
        print(f"{how}: all over {time.monotonic() - back_at:.1f} s after it was back")
        assert await platform.statuses() == {"completed": WARM_UP + JOBS}
        ids: list[Any] = [reply.json()["id"] for reply in replies]
        assert len(set(ids)) == WARM_UP + JOBS
        platform.ledger.assert_each_once(ids)
