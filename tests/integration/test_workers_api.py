"""`/workers` on a real gateway: what heartbeats said, and how a worker is told to stop."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from distriqueue.core.errors import StoreUnavailable
from distriqueue.core.messages import Heartbeat
from distriqueue.store.workers import Recorded
from tests.integration.gateway import RunningGateway, running_gateway

HOME: Final = "/api/workers"


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as each:
        yield each


async def beat(gateway: RunningGateway, *worker_ids: str, **said: Any) -> Recorded:
    return await gateway.parts.workers.record([Heartbeat(worker_id=each, **said) for each in worker_ids])


async def read(gateway: RunningGateway, path: str = "", **query: Any) -> dict[str, Any]:
    answer = await gateway.client.get(f"{HOME}{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def drain(gateway: RunningGateway, worker_id: str) -> httpx.Response:
    return await gateway.client.post(f"{HOME}/{worker_id}/drain")


def ids(page: dict[str, Any]) -> list[str]:
    return [each["workerId"] for each in page["content"]]


async def test_a_worker_is_shown_as_it_was_heard(gateway: RunningGateway) -> None:
    said = {"worker_type": "gpu", "capacity": 4, "current_load": 1, "types": ["calculate", "ü"], "version": "2.1"}
    await beat(gateway, "w1", **said, memory_bytes=5_000_000_000)
    job = await gateway.submit()
    assert (await gateway.report(job["id"], "running"))["answer"] == "accepted"
    shown = await read(gateway, "/w1")
    first, last = (datetime.fromisoformat(shown.pop(name)) for name in ("firstSeen", "lastSeen"))
    assert (first, first.utcoffset()) == (last, timedelta(0))
    assert shown == {
        "workerId": "w1",
        "workerType": "gpu",
        "state": "ACTIVE",
        "capacity": 4,
        "currentLoad": 1,
        "runningJobs": 1,
        "types": ["calculate", "ü"],
        "version": "2.1",
        "memoryBytes": 5_000_000_000,
        "drainRequested": False,
    }
    await beat(gateway, "w1")
    assert (await gateway.report(job["id"], "completed"))["answer"] == "accepted"
    later = await read(gateway, "/w1")
    assert (later["state"], later["runningJobs"], later["types"], later["version"]) == ("IDLE", 0, [], None)
    assert later["memoryBytes"] is None
    assert datetime.fromisoformat(later["lastSeen"]) > datetime.fromisoformat(later["firstSeen"]) == first
    assert (await read(gateway))["content"] == [later]


async def test_the_list_goes_by_id_a_page_at_a_time(gateway: RunningGateway) -> None:
    await beat(gateway, "w3", "w1", "w5")
    await beat(gateway, "w2", stopping=True)
    await beat(gateway, "w4", stopped=True)
    assert ids(await read(gateway)) == ["w1", "w2", "w3", "w4", "w5"]
    seen: list[list[str]] = []
    cursor: str | None = ""
    for _ in range(3):
        page = await read(gateway, size=2, cursor=cursor)
        seen.append(ids(page))
        cursor = page["nextCursor"]
    assert (seen, cursor) == ([["w1", "w2"], ["w3", "w4"], ["w5"]], None)
    for state, found in (("IDLE", ["w1", "w3", "w5"]), ("SHUTTING_DOWN", ["w2"]), ("STOPPED", ["w4"]), ("ACTIVE", [])):
        assert ids(await read(gateway, state=state)) == found
    page = await read(gateway, state="IDLE", size=2)
    assert ids(await read(gateway, state="IDLE", size=2, cursor=page["nextCursor"])) == ["w5"]
    for wrong in ({"state": "asleep"}, {"size": 0}, {"size": 1001}, {"cursor": "\0"}, {"page": 1}):
        answer = await gateway.client.get(HOME, params=wrong)
        assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, list(wrong))


async def test_drained_it_is_told_by_its_next_heartbeat(gateway: RunningGateway) -> None:
    await beat(gateway, "w1", "w2")
    answer = await drain(gateway, "w1")
    assert (answer.status_code, answer.json()) == (202, await read(gateway, "/w1"))
    assert answer.json()["drainRequested"] is True
    assert (await drain(gateway, "w1")).status_code == 202  # as often as one likes
    assert (await beat(gateway, "w1", "w2")).drain == {"w1"}
    assert (await read(gateway, "/w2"))["drainRequested"] is False
    assert (await beat(gateway, "w1", stopping=True)).drain == {"w1"}
    assert (await read(gateway, "/w1"))["state"] == "SHUTTING_DOWN"
    await beat(gateway, "w1", stopped=True)
    assert (await beat(gateway, "w2")).drain == set()
    entries = [each.entry for each in await gateway.parts.audit.page(limit=5)]
    assert [(each.action, each.target) for each in entries] == [("worker.drain", "w1")] * 2


async def test_one_that_is_silent_can_be_drained(gateway: RunningGateway) -> None:
    await beat(gateway, "w1")
    await gateway.parts.database.fetch("UPDATE workers SET state = 'UNRESPONSIVE'")
    assert (await drain(gateway, "w1")).status_code == 202
    assert (await beat(gateway, "w1")).drain == {"w1"}


async def test_what_cannot_be_drained(gateway: RunningGateway) -> None:
    await beat(gateway, "gone", stopped=True)
    answer = await drain(gateway, "gone")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert (await read(gateway, "/gone"))["drainRequested"] is False
    for answer in (await drain(gateway, "nobody"), await gateway.client.get(f"{HOME}/nobody")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for answer in (await drain(gateway, "%00"), await gateway.client.get(f"{HOME}/%00")):
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "workerId")
    for path, allowed in (("", "GET"), ("/gone", "GET"), ("/gone/drain", "POST")):
        answer = await gateway.client.put(f"{HOME}{path}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


async def test_what_cannot_be_noted_is_not_done(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await beat(gateway, "w1")

    async def away(_entry: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(gateway.parts.audit, "append", away)
    answer = await drain(gateway, "w1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert (await read(gateway, "/w1"))["drainRequested"] is False
