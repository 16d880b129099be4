"""The routes: what they answer, and how they say no."""

from typing import Any, cast

import httpx
import pytest

from distriqueue.core.errors import StoreUnavailable
from distriqueue.core.job import new_job_id
from distriqueue.core.ports import Broker
from distriqueue.store.workers import WorkerStore
from orchestrator import api
from orchestrator.duties.supervisor import Supervisor
from orchestrator.heartbeats import MAX_BODY_BYTES, HeartbeatsFirst
from orchestrator.metrics import Metrics
from orchestrator.parts import Parts
from orchestrator.registry import Registry
from tests.unit.orchestrator.fakes import FakeBroker, FakeDuty, FakeLeadership, FakeWorkers

BEAT = "/api/workers/heartbeat"


class AwayWorkers(FakeWorkers):
    """Cannot count: Postgres is away."""

    async def count(self) -> Any:
        raise StoreUnavailable("Postgres does not answer")


class Node:
    """A node's API over fakes."""

    def __init__(self) -> None:
        self.workers, self.broker = AwayWorkers(), FakeBroker()
        leadership, metrics = FakeLeadership(), Metrics()
        metrics.watch(leadership)
        workers, broker = cast("WorkerStore", self.workers), cast("Broker", self.broker)
        self.registry = Registry(workers, observer=metrics)
        supervisor = Supervisor([FakeDuty([])], leadership, observer=metrics)
        parts = Parts(leadership, supervisor, self.registry, workers, broker, metrics)
        app: Any = HeartbeatsFirst(api.build(parts), self.registry)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node")


@pytest.fixture
def node() -> Node:
    return Node()


async def test_health_is_whether_heartbeats_are_recorded(node: Node) -> None:
    down = await node.client.get("/api/health")
    assert (down.status_code, down.json()["status"]) == (503, "DOWN")
    await node.registry.flush()
    node.broker.connected = False
    up = await node.client.get("/api/health")
    assert (up.status_code, up.json()["status"]) == (200, "UP")
    assert up.json()["components"]["broker"] == {"status": "DOWN"}


async def test_a_heartbeat_is_thanked_and_told(node: Node) -> None:
    job_id = new_job_id()
    node.workers.cancel = {"w2": [job_id]}
    await node.registry.flush()
    thanks = await node.client.post(BEAT, json={"workerId": "w1", "currentLoad": 2, "later": "field"})
    assert thanks.json() == {"status": "acknowledged", "cancel": [], "drain": False, "paused": []}
    told = await node.client.post(BEAT, json={"worker_id": "w2"})
    assert told.json()["cancel"] == [str(job_id)]
    assert told.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b'{"workerId": "\xff"}', 400, "malformed_json"),
        (b'{"workerId": "\\ud800"}', 400, "malformed_json"),
        (b"[]", 422, "invalid_request"),
        (b'{"workerId": "w\\u0000"}', 422, "invalid_request"),
        (b'{"workerId": "w1", "capacity": -1}', 422, "invalid_request"),
        (b'{"workerId": "w1", "types": ["a\\n"]}', 422, "invalid_request"),
        (b"x" * (MAX_BODY_BYTES + 1), 413, "payload_too_large"),
    ],
)
async def test_a_wrong_heartbeat_is_a_problem(node: Node, body: bytes, status: int, code: str) -> None:
    await node.registry.flush()
    answer = await node.client.post(BEAT, content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_node_that_cannot_record_says_when_to_come_back(node: Node) -> None:
    answer = await node.client.post(BEAT, json={"workerId": "w1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/nothing", 404, "not_found"),
        ("/api/workers?size=0", 422, "invalid_request"),
        (BEAT, 404, "not_found"),
        ("/api/metrics", 503, "store_unavailable"),
    ],
)
async def test_errors_are_problems(node: Node, path: str, status: int, code: str) -> None:
    answer = await node.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_prometheus_is_served_without_postgres(node: Node) -> None:
    await node.registry.flush()
    text = (await node.client.get("/metrics")).text
    assert "distriqueue_is_leader 1.0" in text
    assert "distriqueue_heartbeat_flush_seconds_count 1.0" in text
