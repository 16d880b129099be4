"""A gateway in this process, on a free port, over a real Postgres and the Postgres broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from distriqueue.lifecycle import listen, serve
from distriqueue.settings import BrokerSettings, GatewaySettings, StoreSettings
from gateway.app import build, open_parts, run_parts
from gateway.parts import Parts


@dataclass(frozen=True)
class RunningGateway:
    """Its address, its parts, and a client."""

    url: str
    parts: Parts
    client: httpx.AsyncClient

    async def submit(self, **fields: Any) -> dict[str, Any]:
        answer = await self.client.post("/api/jobs", json={"type": "calculate"} | fields)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def report(self, job_id: str, status: str, attempt: int = 1, **fields: Any) -> dict[str, Any]:
        answer = await self.client.post(
            "/api/jobs/status", json={"jobId": job_id, "attempt": attempt, "status": status, "workerId": "w1"} | fields
        )
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


@asynccontextmanager
async def running_gateway(
    database_url: str, broker_url: str | None = None, **settings: Any
) -> AsyncIterator[RunningGateway]:
    gateway_settings = GatewaySettings.load(gateway_port=0, **settings)
    store = StoreSettings.load(database_url=database_url, store_timeout=5.0)
    dispatch = BrokerSettings.load(broker_url=broker_url or database_url)
    bound = listen("127.0.0.1", 0, setting="none")
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    stop = asyncio.Event()
    async with (
        open_parts(gateway_settings, store, dispatch) as parts,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(run_parts(parts, stop))
        group.create_task(serve(build(parts), bound, stop=stop))
        try:
            yield RunningGateway(url, parts, client)
        finally:
            parts.hub.close()
            stop.set()


@dataclass(frozen=True)
class ServerSent:
    """One server-sent event."""

    id: int
    name: str
    data: dict[str, Any]


async def server_sent(answer: httpx.Response) -> AsyncIterator[ServerSent]:
    """Read a stream's events; comments are skipped."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield ServerSent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}
