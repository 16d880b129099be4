"""What RabbitMQ, Postgres and uvicorn do when they have nothing else to do, beside what we make of them.

`SHARES` says what of it we reach, where `single` or `batch` ran in the same run: a job of ours is one request (or a
part of one), one publish, one delivery, one row inserted and updated twice or more, and a row for each event.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Final

from benchmarks.load.http import Endpoint
from benchmarks.load.plan import Plan
from benchmarks.measure import QUICK_PART
from benchmarks.model import Contender, Metric, Scene, Suite
from benchmarks.results import Share
from benchmarks.systems.marks import Marks
from benchmarks.systems.programs import Programs
from benchmarks.systems.system import System
from distriqueue.local.ports import free_block
from tests.servers.process import accepts

MESSAGES: Final = 50_000
ROWS: Final = 200_000
REQUESTS: Final = 30_000
CONNECTIONS: Final = 64


def _load(scene: Scene, full: int) -> int:
    return full // QUICK_PART if scene.quick else full


async def _queues(client: str, scene: Scene) -> Mapping[str, float]:
    url, messages = await scene.rabbitmq(), _load(scene, MESSAGES)
    scene.progress(f"{messages} messages")
    async with Programs(scene.home, {}) as programs:
        told = await programs.call("benchmarks.limits.queues", client, str(messages), url)
    return _figures(told)


async def _rows(scene: Scene) -> Mapping[str, float]:
    url, rows = await scene.database(), _load(scene, ROWS)
    scene.progress(f"{rows} rows")
    async with Programs(scene.home, {}) as programs:
        told = await programs.call("benchmarks.limits.rows", str(rows), url)
    return _figures(told)


async def _web(application: str, scene: Scene) -> Mapping[str, float]:
    port, requests = free_block(), _load(scene, REQUESTS)
    argv = ("uvicorn", f"benchmarks.limits.web:{application}", "--port", str(port), "--lifespan", "off")
    async with Programs(scene.home, {}) as programs:
        await programs.start("web", *argv, "--no-access-log", ready=lambda _log: accepts(port))
        endpoint = Endpoint([f"http://127.0.0.1:{port}/jobs"], '{"type":"add","payload":{"a":@,"b":1}}')
        system = System(programs, Marks(scene.home / "marks"), endpoint)
        await system.submit(Plan(CONNECTIONS, CONNECTIONS))
        scene.progress(f"{requests} requests")
        submitted = await system.submit(Plan(requests, CONNECTIONS))
    return {"http": requests / (submitted.last_ns - submitted.first_ns) * 1e9}


def _figures(told: bytes) -> Mapping[str, float]:
    return {str(key): float(value) for key, value in json.loads(told.splitlines()[-1]).items()}


SUITE: Final = Suite(
    name="limits",
    title="Limits of the parts",
    metrics=(
        Metric("publish", "publish, confirmed", "/s", "more"),
        Metric("consume", "consume, acknowledged", "/s", "more"),
        Metric("insert", "insert", "/s", "more"),
        Metric("http", "HTTP POST", "/s", "more"),
    ),
    contenders=(
        Contender("RabbitMQ by aio-pika", partial(_queues, "aio-pika")),
        Contender("RabbitMQ by our adapter", partial(_queues, "ours")),
        Contender("Postgres, unnest of 200", _rows),
        Contender("uvicorn, bare ASGI", partial(_web, "bare")),
        Contender("uvicorn, FastAPI", partial(_web, "fastapi")),
    ),
)

SHARES: Final = tuple(
    Share(suite, "ours on RabbitMQ", "rate", contender, metric)
    for suite in ("single", "batch")
    for contender, metric in (
        ("RabbitMQ by our adapter", "publish"),
        ("RabbitMQ by our adapter", "consume"),
        ("Postgres, unnest of 200", "insert"),
        ("uvicorn, bare ASGI", "http"),
    )
    if (suite, metric) != ("batch", "http")
)
