"""The REST contract, row by row, on a running stack over each broker; each test has its row's name."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from distriqueue.local.stack import Stack
from tests.conftest import forget_topology
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.stack

CALL_S: Final = 20.0
TERMINAL: Final = {"completed", "failed", "timeout", "cancelled"}


@dataclass(frozen=True)
class Service:
    """The stack, and calls to it."""

    stack: Stack
    gateway: httpx.Client
    orchestrators: tuple[httpx.Client, ...]

    def get(self, path: str, **params: Any) -> Any:
        """Return what a GET answers."""
        answer = self.gateway.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, *, status: int = 200, **headers: str) -> Any:
        """Return what a POST answers, which must have the status."""
        answer = self.gateway.post(path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    def submit(self, type_: str = "calculate", **fields: Any) -> str:
        """Post a job and return its id."""
        body = {"type": type_, "payload": {"numbers": [1, 2, 3]}} | fields
        return str(self.post("/jobs", body, status=202)["id"])

    def until(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until a job has one of the statuses, and return it."""
        deadline = time.monotonic() + 30
        while True:
            job: dict[str, Any] = self.get(f"/jobs/{job_id}")
            if job["status"] in statuses:
                return job
            assert job["status"] not in TERMINAL, job
            assert time.monotonic() < deadline, job
            time.sleep(0.05)

    def leader(self) -> httpx.Client:
        """Return the orchestrator that leads."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for each in self.orchestrators:
                if each.get("/cluster/status").json()["role"] == "leader":
                    return each
            time.sleep(0.05)
        raise AssertionError("nobody leads")


@pytest.fixture(scope="module", params=["postgres", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def service(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One stack for all rows."""
    name = asyncio.run(postgres_server.create_database())
    broker_url = postgres_server.url(name)
    if request.param == "rabbitmq":
        broker_url = request.getfixturevalue("rabbitmq_server").url
        asyncio.run(forget_topology(broker_url))
    with (
        Stack.start(
            tmp_path_factory.mktemp("api") / "home",
            orchestrators=3,
            workers=2,
            worker_app="tests.acceptance.api_handlers:registry",
            database_url=postgres_server.url(name),
            broker_url=broker_url,
        ) as stack,
        httpx.Client(base_url=f"{stack.gateway_urls[0]}/api", timeout=CALL_S) as gateway,
    ):
        orchestrators = tuple(httpx.Client(base_url=f"{url}/api", timeout=CALL_S) for url in stack.orchestrator_urls)
        yield Service(stack, gateway, orchestrators)
        for each in orchestrators:
            each.close()


@contextmanager
def stream(service: Service, query: str, **headers: str) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    with service.gateway.stream("GET", f"/jobs/stream?{query}", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer)


def _events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name, event_id = "", ""
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            yield name, json.loads(value) | {"eventId": event_id}


def test_post_jobs(service: Service) -> None:
    key = str(uuid4())
    body: dict[str, Any] = {
        "type": "calculate",
        "jobPriority": "hIgH",
        "payload": {"numbers": [1, 2]},
        "maxRetries": 5,
        "executionTimeout": 30,
        "tags": ["a", "b"],
        "metadata": {"order": 1},
        "retryPolicy": {"type": "fixed", "base": 1.5, "jitter": False},
        "queueTimeout": 600,
        "uniqueKey": key,
        "concurrencyKey": key,
        "concurrencyLimit": 2,
    }
    answer = service.gateway.post("/jobs", json=body, headers={"Idempotency-Key": key})
    job = answer.json()
    assert answer.status_code == 202, job
    assert answer.headers["Location"] == f"/api/jobs/{job['id']}"
    assert (job["priority"], job["maxRetries"], job["concurrencyLimit"]) == ("HIGH", 5, 2)
    assert job["retryPolicy"] == {"base": 1.5, "factor": 1.0, "cap": 600.0, "jitter": False}
    again = service.gateway.post("/jobs", json=body, headers={"Idempotency-Key": key})
    assert (again.status_code, again.headers["Idempotency-Replayed"], again.json()) == (202, "true", job)
    other = service.post("/jobs", {"type": "validate"}, status=422, **{"Idempotency-Key": key})
    assert other["code"] == "idempotency_key_reused"
    wrong = service.post("/jobs", {"type": "x", "prioritty": "LOW"}, status=422)
    assert wrong["errors"] == [{"field": "prioritty", "message": "unknown field"}]
    service.until(job["id"], "completed")
    own = str(uuid4())
    assert service.post("/jobs", {"type": "hold", "id": own, "uniqueKey": own}, status=202)["id"] == own
    assert service.post("/jobs", {"type": "hold", "id": own}, status=409)["code"] == "conflict"
    assert service.post("/jobs", {"type": "hold", "uniqueKey": own}, status=409)["code"] == "conflict"
    there = service.post("/jobs", {"type": "hold", "uniqueKey": own, "onConflict": "return_existing"}, status=200)
    assert there["id"] == own
    service.gateway.post(f"/jobs/{own}/cancel")


def test_post_jobs_that_wait(service: Service) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    scheduled = service.submit(scheduleAt=later)
    assert service.get(f"/jobs/{scheduled}")["status"] == "scheduled"
    late = service.submit(scheduleAt=later, expiresAt=(datetime.now(UTC) + timedelta(seconds=0.3)).isoformat())
    expired = service.until(late, "timeout")
    assert expired["error"]["type"] == "NotStarted"
    parent = service.submit()
    child = service.submit("read_parents", parentJobId=parent)
    done = service.until(child, "completed")
    assert done["dependsOn"] == [parent]
    assert done["result"][parent]["sum"] == 6
    bad = service.submit("fail", maxRetries=0)
    cut, anyway = service.submit(dependsOn=[bad]), service.submit(dependsOn=[bad], onParentFailure="run")
    service.until(anyway, "completed")
    assert service.until(cut, "cancelled")["error"]["type"] == "ParentFailed"


def test_post_jobs_batch_and_get_batches_id(service: Service) -> None:
    jobs = [{"type": "calculate", "payload": {"numbers": [n]}} for n in range(5)]
    answer = service.post("/jobs/batch", {"jobs": jobs, "batchName": "five", "sequential": True}, status=202)
    assert (answer["totalJobs"], answer["successful"], answer["failed"], answer["errors"]) == (5, 5, 0, [])
    for job_id in answer["jobIds"]:
        service.until(job_id, "completed")
    batch = service.get(f"/batches/{answer['batchId']}")
    assert (batch["name"], batch["byStatus"], batch["finished"]) == ("five", {"completed": 5}, True)
    starts = [service.get(f"/jobs/{job_id}")["startedAt"] for job_id in answer["jobIds"]]
    assert starts == sorted(starts)
    assert service.post("/jobs/batch", jobs, status=202)["successful"] == 5
    part = service.post("/jobs/batch", {"jobs": [jobs[0], {"type": ""}], "partial": True}, status=202)
    assert (part["successful"], part["failed"], part["errors"][0]["index"]) == (1, 1, 1)
    service.post("/jobs/batch", {"jobs": [jobs[0], {"type": ""}]}, status=422)
    first, second = str(uuid4()), str(uuid4())
    circle = [
        {"type": "calculate", "id": first, "dependsOn": [second]},
        {"type": "calculate", "id": second, "dependsOn": [first]},
    ]
    assert "circle" in service.post("/jobs/batch", circle, status=422)["detail"]
    stopping = [{"type": "fail", "maxRetries": 0}, {"type": "calculate", "scheduleAt": "2100-01-01T00:00:00Z"}]
    stopped = service.post("/jobs/batch", {"jobs": stopping, "stopOnFailure": True}, status=202)["jobIds"]
    assert service.until(stopped[1], "cancelled")["error"]["type"] == "BatchStopped"
    narrow = service.post("/jobs/batch", {"jobs": jobs, "maxConcurrent": 1}, status=202)["jobIds"]
    spans = sorted((job["startedAt"], job["finishedAt"]) for job in (service.until(id_, "completed") for id_ in narrow))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_get_jobs_id(service: Service) -> None:
    job = service.until(service.submit(), "completed")
    assert job["result"]["result"] == 6
    assert job["queueTimeMs"] >= 0
    assert job["totalDurationMs"] >= job["executionTimeMs"] >= 0
    assert service.gateway.get(job["links"]["self"].removeprefix("/api")).json() == job
    missing = service.gateway.get(f"/jobs/{uuid4()}")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert missing.headers["content-type"] == "application/problem+json"


def test_get_jobs_id_events_and_attempts(service: Service) -> None:
    policy = {"type": "fixed", "base": 0.1}
    job = service.until(service.submit("fail", maxRetries=1, retryPolicy=policy, payload={"name": "me"}), "failed")
    events = [event["status"] for event in service.get(f"/jobs/{job['id']}/events")]
    assert [event for event in events if event != "queued"] == [
        "pending",
        "running",
        "retrying",
        "pending",
        "running",
        "failed",
    ]
    first, second = service.get(f"/jobs/{job['id']}/attempts")
    assert (first["attempt"], first["outcome"], second["attempt"], second["outcome"]) == (1, "failed", 2, "failed")
    assert first["error"]["message"] == "attempt 42 of me failed"
    assert "RuntimeError" in first["error"]["traceback"]
    assert first["workerId"].startswith("worker")


def test_get_jobs_id_explain(service: Service) -> None:
    scheduled = service.submit(scheduleAt="2100-01-01T00:00:00Z")
    told = service.get(f"/jobs/{scheduled}/explain")
    assert (told["jobId"], told["status"]) == (scheduled, "scheduled")
    assert told["reasons"]
    blocked = service.submit(dependsOn=[scheduled])
    assert scheduled in json.dumps(service.get(f"/jobs/{blocked}/explain")["reasons"])
    holder = service.submit("hold", concurrencyKey="explained")
    waiter = service.submit(concurrencyKey="explained")
    assert holder in json.dumps(service.get(f"/jobs/{waiter}/explain")["reasons"])
    for job_id in (holder, scheduled):
        service.gateway.post(f"/jobs/{job_id}/cancel")
    service.until(waiter, "completed")


def test_get_jobs(service: Service) -> None:
    tag = str(uuid4())
    ids = [service.submit(tags=[tag], priority="LOW") for _ in range(5)]
    for job_id in ids:
        service.until(job_id, "completed")
    page = service.get("/jobs", tag=tag, size=2)
    assert {"content", "page", "size", "totalElements", "nextCursor"} <= page.keys()
    assert (len(page["content"]), page["page"], page["size"], page["totalElements"]) == (2, 0, 2, 5)
    assert [job["id"] for job in service.get("/jobs", tag=tag, size=2, page=1)["content"]] == ids[2:0:-1]
    seen = [job["id"] for job in page["content"]]
    while page["nextCursor"]:
        page = service.get("/jobs", tag=tag, size=2, cursor=page["nextCursor"])
        seen += [job["id"] for job in page["content"]]
    assert seen == ids[::-1]
    worker = service.get(f"/jobs/{ids[0]}")["workerId"]
    for narrowed in (
        {"status": "COMPLETED"},
        {"type": "calculate"},
        {"priority": "low"},
        {"worker": worker},
        {"createdFrom": "2020-01-01T00:00:00Z", "createdTo": "2100-01-01T00:00:00Z"},
        {"q": "calcul"},
        {"q": ids[0]},
    ):
        found = [job["id"] for job in service.get("/jobs", tag=tag, **narrowed)["content"]]
        assert ids[0] in found, narrowed
    for nothing in ({"status": "failed"}, {"type": "nope"}, {"priority": "HIGH"}, {"worker": "nope"}, {"q": "nope"}):
        assert service.get("/jobs", tag=tag, **nothing)["content"] == [], nothing
    assert service.gateway.get("/jobs", params={"size": 101}).status_code == 422
    assert service.gateway.get("/jobs", params={"nope": 1}).status_code == 422


def test_post_jobs_id_cancel(service: Service) -> None:
    waiting = service.submit(scheduleAt="2100-01-01T00:00:00Z")
    assert service.post(f"/jobs/{waiting}/cancel")["status"] == "cancelled"
    assert service.gateway.post(f"/jobs/{waiting}/cancel").status_code == 409
    running = service.submit("hold", executionTimeout=60)
    service.until(running, "running")
    assert service.post(f"/jobs/{running}/cancel", status=202)["cancelRequested"] is True
    service.until(running, "cancelled")


def test_post_jobs_id_retry(service: Service) -> None:
    failed = service.until(service.submit("fail", maxRetries=0), "failed")
    again = service.post(f"/jobs/{failed['id']}/retry")
    assert again["attempt"] == 2
    service.until(failed["id"], "failed")
    assert [each["attempt"] for each in service.get(f"/jobs/{failed['id']}/attempts")] == [1, 2]
    done = service.until(service.submit(), "completed")
    assert service.gateway.post(f"/jobs/{done['id']}/retry").status_code == 409


def test_post_jobs_actions(service: Service) -> None:
    tag = str(uuid4())
    ids = [service.submit(tags=[tag], scheduleAt="2100-01-01T00:00:00Z") for _ in range(3)]
    order = {"action": "cancel", "filter": {"tag": [tag]}}
    assert service.post("/jobs/actions", order | {"dryRun": True})["matched"] == 3
    assert {service.get(f"/jobs/{job_id}")["status"] for job_id in ids} == {"scheduled"}
    assert service.post("/jobs/actions", order)["changed"] == 3
    assert {service.get(f"/jobs/{job_id}")["status"] for job_id in ids} == {"cancelled"}
    assert service.post("/jobs/actions", {"action": "retry", "filter": {"tag": [tag]}})["changed"] == 3
    for job_id in ids:
        service.until(job_id, "completed")


def test_get_jobs_statistics(service: Service) -> None:
    service.until(service.submit(), "completed")
    told = service.get("/jobs/statistics")
    assert told["total"] == sum(told["byStatus"].values()) > 0
    assert 0 <= told["successRate"] <= 1
    assert told["averageExecutionTimeMs"] >= 0
    assert {"calculate"} <= {each["name"] for each in told["byType"]}
    assert told["byPriority"]
    assert told["byWorker"]
    assert told["hourly"]
    long_ago = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    assert service.get("/jobs/statistics", **long_ago)["total"] == 0


def test_get_jobs_stream(service: Service) -> None:
    with stream(service, "type=hold") as told:
        assert next(told)[0] == "connected"
        job_id = service.submit("hold")
        service.submit()
        seen = []
        for name, data in told:
            assert (name, data["jobId"], data["type"]) == ("job-update", job_id, "hold")
            assert {"status", "priority", "attempt", "workerId", "progress", "timestamp"} <= data.keys()
            seen.append(data)
            if data["progress"] == 25:
                assert data["progressMessage"] == "holding"
                break
    service.gateway.post(f"/jobs/{job_id}/cancel")
    service.until(job_id, "cancelled")
    with stream(service, f"jobId={job_id}", **{"Last-Event-ID": seen[0]["eventId"]}) as told:
        assert next(told)[0] == "connected"
        after = []
        for _, data in told:
            after.append(data["status"])
            if data["status"] == "cancelled":
                break
        assert after[0] == seen[1]["status"]


def test_post_jobs_status(service: Service) -> None:
    job_id = service.submit(scheduleAt="2100-01-01T00:00:00Z")
    claim = {"jobId": job_id, "attempt": 1, "status": "running", "workerId": "me"}
    refused = service.post("/jobs/status", claim)
    assert (refused["answer"], refused["reason"]) == ("refused", "not_ready")
    stale = service.post("/jobs/status", [claim | {"status": "completed"}, claim])
    assert [each["answer"] for each in stale] == ["stale", "refused"]
    service.gateway.post(f"/jobs/{job_id}/cancel")


def test_schedules(service: Service) -> None:
    name = f"every-{uuid4()}"
    plan = {"name": name, "cron": "* * * * * *", "type": "calculate", "payload": {"numbers": [1]}, "priority": "low"}
    made = service.gateway.post("/schedules", json=plan)
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == f"/api/schedules/{name}"
    assert len(made.json()["nextFires"]) == 5
    assert service.gateway.post("/schedules", json=plan).status_code == 409
    assert name in [each["name"] for each in service.get("/schedules")["content"]]
    deadline = time.monotonic() + 15
    while not (jobs := service.get("/jobs", schedule=name)["content"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert jobs[0]["scheduleName"] == name
    assert jobs[0]["scheduledFor"]
    paused = service.gateway.patch(f"/schedules/{name}", json={"paused": True})
    assert (paused.status_code, paused.json()["paused"], paused.json()["nextFires"]) == (200, True, [])
    assert service.get(f"/schedules/{name}")["fired"] >= 1
    assert service.gateway.patch(f"/schedules/{name}", json={"cron": "nope"}).status_code == 422
    assert service.gateway.delete(f"/schedules/{name}").status_code == 204
    assert service.gateway.get(f"/schedules/{name}").status_code == 404


def test_queues(service: Service) -> None:
    lanes = {each["name"]: each for each in service.get("/queues")}
    assert list(lanes) == ["job.critical", "job.high", "job.medium", "job.low"]
    assert lanes["job.low"]["consumers"] == 2
    assert service.post("/queues/job.low/pause?reason=a+test")["paused"] is True
    job_id = service.submit(priority="LOW")
    other = service.submit(priority="HIGH")
    service.until(other, "completed")
    assert service.get(f"/jobs/{job_id}")["status"] in ("pending", "queued")
    assert service.post("/queues/low/resume")["paused"] is False
    service.until(job_id, "completed")
    assert service.gateway.post("/queues/nope/pause").status_code == 404


def test_dead_letters(service: Service) -> None:
    type_ = "fail"
    ids = [service.submit(type_, maxRetries=0, payload={"name": f"number {n}"}) for n in range(3)]
    ends = [service.until(job_id, "failed") for job_id in ids]
    groups = service.get("/dead-letters", type=type_)["content"]
    assert sum(group["jobs"] for group in groups) >= 3
    assert {"fingerprint", "type", "message", "lastFailedAt"} <= groups[0].keys()
    dry = service.post("/dead-letters/replay", {"ids": ids, "dryRun": True})
    assert (dry["matched"], dry["replayed"]) == (3, 0)
    assert service.post("/dead-letters/replay", {"ids": ids, "perSecond": 50})["replayed"] == 3
    for job in ends:
        deadline = time.monotonic() + 20
        while (now := service.get(f"/jobs/{job['id']}"))["attempt"] == 1 or now["status"] != "failed":
            assert time.monotonic() < deadline, now
            time.sleep(0.05)


def test_actuator_and_health(service: Service) -> None:
    health = service.get("/actuator/health")
    assert health["status"] == "UP"
    assert health["components"]
    assert service.get("/actuator/info")
    root = httpx.Client(base_url=service.stack.gateway_urls[0], timeout=CALL_S)
    with root:
        assert "# HELP" in root.get("/actuator/prometheus").text
        assert "# HELP" in root.get("/metrics").text
        assert root.get("/health/live").json()["status"] == "UP"
        assert root.get("/health/ready").json()["status"] == "UP"
        assert root.get("/actuator/health").json()["status"] == "UP"


def test_api_docs_and_swagger(service: Service) -> None:
    assert service.get("/api-docs")["openapi"].startswith("3.")
    page = service.gateway.get("/swagger-ui.html")
    assert page.status_code == 200
    assert "swagger" in page.text.lower()


def test_orchestrator(service: Service) -> None:
    node = service.orchestrators[0]
    assert node.get("/health").json()["status"] == "UP"
    status = service.leader().get("/cluster/status").json()
    assert {"node", "role", "term", "epoch", "leader", "established", "peers", "duties"} <= status.keys()
    duties = {
        "dispatcher",
        "scheduler",
        "cron",
        "reaper",
        "reconciler",
        "retention",
        "statistics",
        "expirer",
        "follower",
    }
    assert duties <= status["duties"].keys()
    assert "term" in node.get("/raft/status").json()
    assert node.get("/metrics").json()["workers"]
    assert len(node.get("/workers").json()["content"]) >= 2
    for beat in ({"workerId": "w", "currentLoad": 0}, {"worker_id": "w", "current_load": 0}):
        answer = node.post("/workers/heartbeat", json=beat).json()
        assert (answer["status"], answer["cancel"], answer["drain"]) == ("acknowledged", [], False)
    assert "# HELP" in httpx.get(f"{service.stack.orchestrator_urls[0]}/metrics", timeout=CALL_S).text
    before = service.leader()
    answer = before.post("/cluster/step-down", json={})
    assert answer.status_code == 200, answer.text
    assert service.leader() is not before


def _living(service: Service) -> list[dict[str, Any]]:
    workers = service.get("/workers")["content"]
    return [each for each in workers if each["workerId"].startswith("worker") and each["state"] != "STOPPED"]


def test_workers_and_drain(service: Service) -> None:
    service.stack.until(lambda: len(_living(service)) == 2, "heartbeats")
    mine = _living(service)[0]
    assert service.get(f"/workers/{mine['workerId']}")["workerId"] == mine["workerId"]
    assert service.gateway.get("/workers/nobody").status_code == 404
    assert {"lastSeen", "capacity", "currentLoad", "types", "version"} <= mine.keys()
    assert "calculate" in mine["types"]
    old = service.stack.pids("worker")
    answer = service.gateway.post(f"/workers/{mine['workerId']}/drain")
    assert (answer.status_code, answer.json()["drainRequested"]) == (202, True)
    service.stack.until(lambda: service.stack.pids("worker") != old, "the drained worker's end", timeout_s=30)
    service.until(service.submit(), "completed")


def test_rate_limits(service: Service) -> None:
    type_ = "transform"
    limit = service.gateway.put(f"/rate-limits/{type_}", json={"permits": 2, "perSeconds": 1})
    assert (limit.status_code, limit.json()["permits"]) == (200, 2)
    assert [each["type"] for each in service.get("/rate-limits")] == [type_]
    body = {"payload": {"operation": "uppercase", "data": {"a": "b"}}}
    ids = [service.submit(type_, **body) for _ in range(6)]
    starts = sorted(datetime.fromisoformat(service.until(job_id, "completed")["startedAt"]) for job_id in ids)
    for before, after in zip(starts, starts[2:], strict=False):
        assert (after - before).total_seconds() > 0.45
    assert service.gateway.delete(f"/rate-limits/{type_}").status_code == 204
    assert service.gateway.delete(f"/rate-limits/{type_}").status_code == 404


def test_webhooks(service: Service) -> None:
    job_id = service.submit(callbackUrl="http://127.0.0.1:9/hook")
    service.until(job_id, "completed")
    deadline = time.monotonic() + 20
    while not (sent := service.get(f"/jobs/{job_id}/webhooks")) or sent[0]["status"] not in TERMINAL:
        assert time.monotonic() < deadline, sent
        time.sleep(0.05)
    [delivery] = sent
    assert (delivery["event"], delivery["status"]) == ("job.completed", "failed")
    assert delivery["error"]["type"] == "webhook_refused"  # a loopback address
    again = service.post(f"/webhooks/{delivery['id']}/replay", status=202)
    assert again["messageId"] == delivery["messageId"]
    assert len(service.get(f"/jobs/{job_id}/webhooks")) == 2
    batch = service.post("/jobs/batch", {"jobs": [{"type": "hold"}], "callbackUrl": "http://127.0.0.1:9/"}, status=202)
    service.gateway.post(f"/jobs/{batch['jobIds'][0]}/cancel")
    deadline = time.monotonic() + 20
    while not (told := service.get(f"/batches/{batch['batchId']}/webhooks")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert told[0]["event"] == "batch.finished"
    assert service.gateway.post(f"/webhooks/{uuid4()}/replay").status_code == 404


@pytest.mark.parametrize("field", ["priority", "jobPriority"])
@pytest.mark.parametrize("spelt", ["high", "HIGH", "High"])
def test_old_clients_spell_priorities_as_they_like(service: Service, field: str, spelt: str) -> None:
    job = service.post("/jobs", {"type": "calculate", "payload": {"numbers": [1]}, field: spelt}, status=202)
    assert job["priority"] == "HIGH"


@pytest.mark.parametrize("path", ["/api-docs", "/v3/api-docs", "/api/api-docs"])
def test_old_clients_find_the_document(service: Service, path: str) -> None:
    answer = httpx.get(service.stack.gateway_urls[0] + path, timeout=CALL_S)
    assert answer.json()["openapi"].startswith("3.")


@pytest.mark.parametrize("path", ["/actuator/health", "/actuator/info", "/actuator/prometheus"])
@pytest.mark.parametrize("base", ["", "/api"])
def test_old_clients_find_the_actuator(service: Service, path: str, base: str) -> None:
    assert httpx.get(f"{service.stack.gateway_urls[0]}{base}{path}", timeout=CALL_S).status_code == 200


def test_old_clients_read_pages(service: Service) -> None:
    service.submit()
    page = service.get("/jobs", page=0, size=1)
    assert {"content", "page", "size", "totalElements", "totalPages"} <= page.keys()
    assert page["totalPages"] >= page["totalElements"] >= 1


def test_old_workers_report_one_by_one(service: Service) -> None:
    job_id = service.submit(scheduleAt="2100-01-01T00:00:00Z")
    report = {"jobId": job_id, "attempt": 1, "status": "completed", "workerId": "java-1", "result": {"ok": True}}
    said = report | {"errorMessage": None, "progress": 100, "timestamp": "2026-01-01T00:00:00Z"}
    assert service.post("/jobs/status", said)["answer"] == "stale"
    service.gateway.post(f"/jobs/{job_id}/cancel")
