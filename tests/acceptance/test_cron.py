"""Every second exactly once, whatever happens to the leaders and whatever time their machines think it is.

Twenty seconds and two kills by default; five minutes and five kills: `ACCEPTANCE_CRON_S=300 ACCEPTANCE_CRON_KILLS=5`.
"""

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from distriqueue.settings import StoreSettings
from distriqueue.store.database import Database
from distriqueue.store.schedules import Plan, ScheduleStore
from tests.acceptance.cluster import ROOT, Cluster, cluster, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

LASTS_S = float(os.environ.get("ACCEPTANCE_CRON_S", "20"))
KILLS = int(os.environ.get("ACCEPTANCE_CRON_KILLS", "2"))
LATE_S = 5.0
"""Longest from a fire time to its job, over a change of leaders."""

OTHER_CLOCK = """
import os, time
shift = float(os.environ.get("TEST_CLOCK_SHIFT_S", "0"))
seconds, nanoseconds = time.time, time.time_ns
time.time = lambda: seconds() + shift
time.time_ns = lambda: nanoseconds() + int(shift * 1e9)
"""


async def schedule_every_second(database_url: str, *names: str) -> None:
    """Store schedules that fire every second."""
    settings = StoreSettings.load(database_url=database_url)
    async with Database.open(settings, application="test") as database:
        for name in names:
            await ScheduleStore(database).create(Plan(name, "* * * * * *", "calculate"))


async def until_now(nodes: Cluster, name: str) -> list[datetime]:
    """Wait until the schedule has fired up to this moment; return all its fire times, in order."""
    now = await nodes.sql.fetchval("SELECT date_trunc('second', now())")

    async def over() -> bool:
        return not await nodes.sql.fetchval("SELECT next_fire <= $2 FROM schedules WHERE name = $1", name, now)

    await until(over, "the fires up to now", timeout_s=20)
    rows = await nodes.sql.fetch(
        "SELECT schedule_fire_at AS at FROM jobs WHERE schedule_name = $1 AND schedule_fire_at <= $2 ORDER BY 1",
        name,
        now,
    )
    return [row["at"] for row in rows]


async def check_each_once(nodes: Cluster, name: str, *, at_least: int) -> None:
    """Check that no second is missing, doubled or early, and how late the latest was."""
    fires = await until_now(nodes, name)
    assert len(fires) >= at_least
    assert fires == [fires[0] + timedelta(seconds=number) for number in range(len(fires))]
    row = await nodes.sql.fetchrow(
        "SELECT min(created_at - schedule_fire_at) AS least, max(created_at - schedule_fire_at) AS most"
        " FROM jobs WHERE schedule_name = $1",
        name,
    )
    assert row is not None
    print(f"{name}: {len(fires)} seconds, from {row['least']} to {row['most']} late")
    assert timedelta(0) <= row["least"]
    assert row["most"] < timedelta(seconds=LATE_S)
    assert await nodes.sql.fetchval("SELECT missed FROM schedules WHERE name = $1", name) == 0


async def test_every_second_once_through_leader_kills(tmp_path: Path, database_url: str) -> None:
    async with cluster(tmp_path, database_url) as nodes:
        await schedule_every_second(database_url, "tick", "tock")
        began = asyncio.get_running_loop().time()
        for kill in range(1, KILLS + 1):
            await asyncio.sleep(max(0.0, began + kill * LASTS_S / (KILLS + 1) - asyncio.get_running_loop().time()))
            leader = await nodes.settled()
            await leader.kill()
            await nodes.settled()
            await leader.start()
        await asyncio.sleep(max(0.0, began + LASTS_S - asyncio.get_running_loop().time()))
        for name in ("tick", "tock"):
            await check_each_once(nodes, name, at_least=int(LASTS_S) - 1)
        assert await nodes.epoch() > KILLS


async def test_a_node_whose_clock_is_an_hour_off_fires_at_the_same_times(tmp_path: Path, database_url: str) -> None:
    async with cluster(tmp_path, database_url, start=False) as nodes:
        wrong = tmp_path / "wrong-clock"
        wrong.mkdir()
        wrong.joinpath("sitecustomize.py").write_text(OTHER_CLOCK)
        for node, shift_s in zip(nodes.nodes, (3600, -3600, 0), strict=True):
            node.env |= {"PYTHONPATH": f"{wrong}:{ROOT}", "TEST_CLOCK_SHIFT_S": str(shift_s)}
        async with asyncio.TaskGroup() as group:
            for node in nodes.nodes:
                group.create_task(node.start())
        await nodes.settled()
        await schedule_every_second(database_url, "tick")
        led = set()
        for _ in range(3):  # every node leads once
            leader = await nodes.settled()
            led.add(leader.name)
            await asyncio.sleep(3)
            others = [node for node in nodes.nodes if node.name not in led]
            if others:
                moved = await nodes.client.post(f"{leader.url}/api/cluster/step-down", json={"to": others[0].name})
                assert moved.status_code == 200, moved.text
        assert len(led) == 3
        await check_each_once(nodes, "tick", at_least=8)
