"""A real Prometheus over a loaded platform: all that is shown is right, all that is drawn has data, alerts do fire."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring.grafana.__main__ import HERE
from tests.acceptance.cluster import until
from tests.acceptance.monitoring.watched import ScrapedRabbitMQ, Watched, watched
from tests.servers.prometheus import PrometheusServer, program, promtool
from tests.unit.monitoring.panels import exprs, panels

pytestmark = [pytest.mark.stack, pytest.mark.rabbitmq, pytest.mark.timeout(600)]

OVERDUE_S = 45.0
"""For the alert of a CRITICAL job that has waited for 30 s."""


@pytest.fixture
def rabbitmq() -> Iterator[ScrapedRabbitMQ]:
    program("prometheus")
    server = ScrapedRabbitMQ()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("load_s", "interval"), [(25.0, "10s"), pytest.param(300.0, "1m", marks=pytest.mark.soak)], ids=["short", "long"]
)
async def test_a_loaded_platform_under_a_real_prometheus(
    tmp_path: Path, database_url: str, rabbitmq: ScrapedRabbitMQ, load_s: float, interval: str
) -> None:
    async with watched(tmp_path, database_url, rabbitmq) as platform:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(platform.load(stop))
            await asyncio.sleep(load_s)
            await asyncio.to_thread(_check_what_is_shown, platform)
            await until(lambda: _all_have_data(platform.prometheus, interval), "data in every panel", timeout_s=30)
            assert await asyncio.to_thread(platform.prometheus.firing) == set()
            stop.set()
        assert set(platform.answers) == {202}
        await _cause_alerts(platform)


def _check_what_is_shown(platform: Watched) -> None:
    for endpoint in platform.endpoints:
        answer = httpx.get(endpoint, timeout=10, trust_env=False)
        said = promtool("check", "metrics", text=answer.content)
        assert said == "", f"{endpoint}: {said}"
    targets = platform.prometheus.targets()
    assert set(targets.values()) == {"up"}, targets
    assert len(targets) == len(platform.endpoints) + 2


async def _all_have_data(prometheus: PrometheusServer, interval: str) -> bool:
    empty = await asyncio.to_thread(_empty, prometheus, interval)
    if empty:
        print("no data yet:", empty)
    return not empty


def _empty(prometheus: PrometheusServer, interval: str) -> list[str]:
    """Return the queries that yield nothing, or nothing but NaN."""
    boards: list[dict[str, Any]] = [json.loads(file.read_text()) for file in sorted(HERE.glob("*.json"))]
    return [
        f"{board['title']}, {panel['title']}: {expr}"
        for board in boards
        for panel in panels(board)
        for expr in exprs(panel, interval=interval)
        if not any(math.isfinite(float(series["value"][1])) for series in prometheus.query(expr))
    ]


async def _cause_alerts(platform: Watched) -> None:
    for worker in platform.workers:
        await asyncio.to_thread(worker.stop)
    await platform.fires("DistriQueueNoWorkers", timeout_s=30)
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        job = {"type": "calculate", "priority": "CRITICAL", "payload": {"numbers": [1]}}
        assert (await client.post(f"{platform.gateways[0].url}/api/jobs", json=job)).status_code == 202
    await platform.fires("DistriQueueOldestAgeOverTarget", timeout_s=OVERDUE_S)
    # Without a quorum the last one must cease to lead, if it did.
    for orchestrator in platform.orchestrators[:2]:
        await asyncio.to_thread(orchestrator.kill)
    await platform.fires("DistriQueueNoLeader", timeout_s=30)
    await platform.fires("DistriQueueTargetDown", timeout_s=30)
