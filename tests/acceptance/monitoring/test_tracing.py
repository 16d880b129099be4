"""One trace of a job over all processes, as a collector gets it; and none when nobody asked for it."""

import base64
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from distriqueue.local.ports import free_block
from tests.acceptance.cluster import until
from tests.acceptance.monitoring.watched import all_of
from tests.acceptance.stack import ROOT, Service
from tests.servers.otlp import OtlpReceiver, ReceivedSpan, receiving
from tests.servers.process import private_env

pytestmark = pytest.mark.stack

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""The example of the standard: trace, span, sampled."""
TRACE_ID, CALLER_ID = CALLER.split("-")[1:3]
HANDLERS = "tests.acceptance.monitoring.handlers:registry"


@dataclass
class Traced:
    """A gateway, an orchestrator and a worker that send traces."""

    gateway: Service
    orchestrator: Service
    worker: Service
    database_url: str
    client: httpx.AsyncClient

    async def submit(self, path: str = "/api/jobs", *, caller: str | None = CALLER, **job: Any) -> dict[str, Any]:
        headers = {} if caller is None else {"traceparent": caller}
        answer = await self.client.post(f"{self.gateway.url}{path}", json=job, headers=headers)
        assert answer.status_code == 202, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def until_over(self) -> None:
        """Wait until no job has anything left to do."""
        connection = await asyncpg.connect(self.database_url, timeout=10)

        async def over() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NULL")

        try:
            await until(over, "the end of all jobs", timeout_s=30)
        finally:
            await connection.close(timeout=10)

    async def traces(self) -> list[str | None]:
        """Return the column of each job."""
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            return [row["trace"] for row in await connection.fetch("SELECT trace FROM jobs ORDER BY id")]
        finally:
            await connection.close(timeout=10)

    def said_by_handlers(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.worker.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "handler_says"]


@pytest.fixture
def collector() -> Iterator[OtlpReceiver]:
    with receiving() as receiver:
        yield receiver


@asynccontextmanager
async def traced(home: Path, database_url: str, collector: OtlpReceiver, **settings: str) -> AsyncIterator[Traced]:
    port = free_block(2)
    gateway_url, orchestrator_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    env = private_env(
        PYTHONPATH=str(ROOT),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
        DISTRIQUEUE_TRACING="true",
        DISTRIQUEUE_LOG_FORMAT="json",
        DISTRIQUEUE_BROKER_URL=database_url,
        DISTRIQUEUE_GATEWAY_URL=gateway_url,
        DISTRIQUEUE_ORCHESTRATOR_URLS=orchestrator_url,
        DISTRIQUEUE_WEBHOOK_ALLOW="127.0.0.1",
        DISTRIQUEUE_WEBHOOK_SECRETS="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    env |= settings
    stored = env | {"DISTRIQUEUE_DATABASE_URL": database_url}
    gateway_env = stored | {"DISTRIQUEUE_GATEWAY_PORT": str(port)}
    gateway = Service("gateway1", ("gateway",), gateway_env, home, url=gateway_url)
    orchestrator_env = stored | {"DISTRIQUEUE_ORCHESTRATOR_PORT": str(port + 1)}
    orchestrator = Service("orchestrator1", ("orchestrator",), orchestrator_env, home, url=orchestrator_url)
    worker = Service("worker1", ("workers", HANDLERS), env, home)
    services = (worker, gateway, orchestrator)
    try:
        await all_of(gateway.start, orchestrator.start)
        await all_of(worker.start)
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            yield Traced(gateway, orchestrator, worker, database_url, client)
        for service in services:
            assert service.stop() == 0
            assert service.complaints(()) == []
    except BaseException:
        for service in services:
            print(f"---- {service.name}\n{service.log()[-3000:]}")
        raise
    finally:
        await all_of(*(service.kill for service in services if service.is_running))


async def test_one_trace_from_the_submission_to_the_webhook(
    tmp_path: Path, database_url: str, collector: OtlpReceiver
) -> None:
    async with traced(tmp_path, database_url, collector) as stack:
        job = await stack.submit(
            type="second_time_lucky",
            callbackUrl=f"{collector.url}/hook",
            retryPolicy={"type": "fixed", "base": 0.1, "cap": 0.1, "jitter": False},
        )
        await stack.until_over()
    spans = collector.of_trace(TRACE_ID)
    of_job = [span for span in spans if span.attributes.get("messaging.message.id") == job["id"]]
    of_webhook = [span for span in spans if span not in of_job and span.name != "POST /api/jobs"]
    (root,) = (span for span in spans if span.name == "POST /api/jobs")
    assert (root.parent_id, root.service) == (CALLER_ID, "distriqueue-gateway")
    assert root.attributes["http.response.status_code"] == "202"
    assert {span.parent_id for span in (*of_job, *of_webhook)} == {root.span_id}
    assert Counter(map(named, of_job)) == {
        ("distriqueue-gateway", "dispatch"): 1,
        ("distriqueue-orchestrator", "dispatch"): 1,  # the retry
        ("distriqueue-worker", "claim"): 2,
        ("distriqueue-worker", "run second_time_lucky"): 2,
        ("distriqueue-worker", "report"): 2,
    }
    runs = {span.attributes["distriqueue.job.attempt"]: span for span in of_job if span.name.startswith("run")}
    assert (runs["1"].is_error, runs["2"].is_error) == (True, False)
    assert {span.name for span in of_webhook} == {"dispatch", "claim", "run distriqueue.webhook", "report"}
    (hook,) = (post["traceparent"] for post in collector.posts)
    (sending,) = (span for span in of_webhook if span.name == "run distriqueue.webhook")
    assert hook == f"00-{TRACE_ID}-{sending.span_id}-01"


async def test_logs_of_handlers_say_job_and_trace(tmp_path: Path, database_url: str, collector: OtlpReceiver) -> None:
    async with traced(tmp_path, database_url, collector) as stack:
        jobs = [{"type": "in_thread"}, {"type": "in_process"}, {"type": "second_time_lucky", "maxRetries": 0}]
        answer = await stack.submit("/api/jobs/batch", jobs=jobs)
        await stack.until_over()
    said = {line["where"]: line for line in stack.said_by_handlers()}
    assert set(said) == {"thread", "process", "loop"}
    assert {line["trace_id"] for line in said.values()} == {TRACE_ID}
    assert {line["job_id"] for line in said.values()} == set(answer["jobIds"])
    assert {span.name for span in collector.of_trace(TRACE_ID) if span.name.startswith("POST")} == {
        "POST /api/jobs/batch"
    }


async def test_without_a_caller_each_submission_begins_a_trace(
    tmp_path: Path, database_url: str, collector: OtlpReceiver
) -> None:
    async with traced(tmp_path, database_url, collector) as stack:
        for _ in range(2):
            await stack.submit(type="in_thread", caller=None)
        await stack.until_over()
        assert None not in await stack.traces()
    roots = [span for span in collector.spans if span.name == "POST /api/jobs"]
    assert len({span.trace_id for span in roots}) == 2
    assert {span.parent_id for span in roots} == {""}


@pytest.mark.parametrize(
    ("settings", "caller"),
    [
        ({"DISTRIQUEUE_TRACING": "false"}, CALLER),
        ({}, CALLER.removesuffix("01") + "00"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, None),
    ],
    ids=["off", "the caller does not sample", "we do not sample"],
)
async def test_a_job_that_is_not_traced_has_no_trace(
    tmp_path: Path, database_url: str, collector: OtlpReceiver, settings: dict[str, str], caller: str | None
) -> None:
    async with traced(tmp_path, database_url, collector, **settings) as stack:
        await stack.submit(type="in_thread", caller=caller)
        await stack.until_over()
        assert await stack.traces() == [None]
        assert all("trace_id" not in line for line in stack.said_by_handlers())
    assert collector.spans == []


def named(span: ReceivedSpan) -> tuple[str, str]:
    return span.service, span.name
