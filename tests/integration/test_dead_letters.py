"""`/dead-letters`: what failed for good in groups, and its replay, over a real store."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from distriqueue.core.states import Status
from distriqueue.store import dead_letters as dead_letters_module
from distriqueue.store.jobs import NewJob
from gateway import bulk
from orchestrator.duties.dispatcher import Dispatcher
from tests.integration.conftest import Stores, new_job
from tests.integration.gateway import RunningGateway, running_gateway
from tests.integration.leader import connected, leading


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        await connected(running.parts.broker)
        yield running


async def dead(stores: Stores, count: int = 1, *, status: str = "failed", **fields: Any) -> list[NewJob]:
    """Let jobs end badly, one after the other."""
    error = {"error_message": fields.pop("message", "boom"), "error_type": fields.pop("error", "ValueError")}
    jobs = [new_job(**fields) for _ in range(count)]
    await stores.add(*jobs)
    for job in jobs:
        await stores.report(job, "running")
        await stores.report(job, status, retryable=False, **error)
    return jobs


async def groups(gateway: RunningGateway, **query: Any) -> dict[str, Any]:
    answer = await gateway.client.get("/api/dead-letters", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def replay(gateway: RunningGateway, **order: Any) -> dict[str, Any]:
    answer = await gateway.client.post("/api/dead-letters/replay", json=order)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def ready_at(stores: Stores, jobs: Sequence[NewJob]) -> list[datetime]:
    return sorted([(await stores.get(job)).ready_at for job in jobs])


def ids(jobs: Sequence[NewJob]) -> list[str]:
    return sorted(str(job.id) for job in jobs)


async def test_groups_are_of_what_failed_alike_the_largest_first(gateway: RunningGateway, stores: Stores) -> None:
    assert await groups(gateway) == {"content": [], "complete": True}
    [timed_out] = await dead(stores, status="timeout", message="too slow", error="Slow", type="mail")
    alike = [(await dead(stores, message=f"no row {n} in 'table {n}'"))[0] for n in range(3)]
    await dead(stores, message="other", status="cancelled")
    page = await groups(gateway)
    assert [(group["jobs"], group["type"], group["errorType"]) for group in page["content"]] == [
        (3, "calculate", "ValueError"),
        (1, "mail", "Slow"),
    ]
    first, second = page["content"]
    ends = [(await stores.get(job)).finished_at for job in alike]
    assert first["message"] == "no row 2 in 'table 2'"
    assert (first["sampleJobId"], first["links"]) == (str(alike[2].id), {"sample": f"/api/jobs/{alike[2].id}"})
    assert [datetime.fromisoformat(first[name]) for name in ("firstFailedAt", "lastFailedAt")] == [ends[0], ends[2]]
    assert second["firstFailedAt"] == second["lastFailedAt"]
    explained = (await gateway.client.get(f"/api/jobs/{timed_out.id}/explain")).json()
    assert explained["reasons"][0]["details"]["fingerprint"] == second["fingerprint"]
    since = first["firstFailedAt"]
    for query, sizes in (
        ({"type": "mail"}, [1]),
        ({"type": "nope"}, []),
        ({"from": since}, [3]),
        ({"to": since}, [1]),
        ({"from": since, "type": "mail"}, []),
        ({"size": 1}, [3]),
    ):
        page = await groups(gateway, **query)
        assert ([group["jobs"] for group in page["content"]], page["complete"]) == (sizes, True), query
    for wrong in ({"size": 0}, {"size": 101}, {"from": "yesterday"}, {"type": "\0"}, {"surplus": 1}):
        assert (await gateway.client.get("/api/dead-letters", params=wrong)).status_code == 422, wrong


async def test_only_so_many_of_the_newest_are_looked_at(
    gateway: RunningGateway, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters_module, "LOOKED_AT", 2)
    monkeypatch.setattr(dead_letters_module, "LOOKED_THROUGH", 4)
    await dead(stores, type="mail")
    await dead(stores, type="validate")
    assert (await groups(gateway))["complete"]
    await dead(stores, 2)
    page = await groups(gateway)
    assert ([group["type"] for group in page["content"]], page["complete"]) == (["calculate", "validate"], False)
    page = await groups(gateway, type="mail")
    assert ([group["jobs"] for group in page["content"]], page["complete"]) == ([1], True)
    await dead(stores, 3)
    assert await groups(gateway, type="mail") == {"content": [], "complete": False}


async def test_a_replay_takes_what_it_names_and_no_other(gateway: RunningGateway, stores: Stores) -> None:
    old = await dead(stores, 2, message="alike 1")
    new = await dead(stores, 2, message="alike 2")
    others = await dead(stores, message="other")
    mails = await dead(stores, type="mail", status="timeout")
    cancelled = await dead(stores, type="mail", status="cancelled")
    fingerprint = (await groups(gateway))["content"][0]["fingerprint"]
    between = (await stores.get(new[0])).finished_at
    assert between is not None
    for order, matched in (
        ({"fingerprint": fingerprint}, old + new),
        ({"fingerprint": fingerprint, "to": between.isoformat()}, old),
        ({"fingerprint": fingerprint, "from": between.isoformat()}, new),
        ({"fingerprint": fingerprint, "ids": ids(new + others)}, new),
        ({"type": "mail"}, mails),
        ({"ids": ids(old + cancelled)}, old),
        ({"fingerprint": "0" * 16}, []),
    ):
        told = await replay(gateway, **order, dryRun=True)
        assert (sorted(told["jobIds"]), told["replayed"], told["more"]) == (ids(matched), 0, False), order
    assert (await gateway.client.get("/api/audit")).json()["content"] == []
    told = await replay(gateway, fingerprint=fingerprint, to=between.isoformat())
    assert (told["matched"], told["replayed"], sorted(told["jobIds"])) == (2, 2, ids(old))
    assert [(await stores.get(job)).attempt for job in old + new] == [2, 2, 1, 1]
    [entry] = (await gateway.client.get("/api/audit")).json()["content"]
    assert (entry["action"], entry["target"]) == ("dead_letters.replay", fingerprint)
    assert (await groups(gateway))["content"][0]["jobs"] == 2


async def test_a_replay_that_names_nothing_or_something_wrong_is_refused(gateway: RunningGateway) -> None:
    good = {"type": "mail"}
    wrongs: tuple[Any, ...] = (
        {},
        {"from": "2030-01-01T00:00:00Z"},
        {"ids": []},
        {"fingerprint": "XYZ"},
        good | {"perSecond": 0},
        good | {"perSecond": "1"},
        good | {"limit": 0},
        good | {"limit": 10_001},
        good | {"dryRun": "yes"},
        good | {"surplus": 1},
        [good],
    )
    for wrong in wrongs:
        answer = await gateway.client.post("/api/dead-letters/replay", json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), wrong
    assert (await replay(gateway, **good, perSecond=None))["matched"] == 0


async def test_a_rate_goes_on_over_the_batches_of_a_call(
    gateway: RunningGateway, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 3)
    jobs = await dead(stores, 8)
    began = (await stores.database.fetch("SELECT clock_timestamp() AS at"))[0]["at"]
    told = await replay(gateway, type="calculate", perSecond=0.5, limit=7)
    assert (told["replayed"], told["more"]) == (7, True)
    starts = (await ready_at(stores, jobs))[1:]  # the oldest was left over
    waits = [(after - before) / timedelta(seconds=1) for before, after in pairwise(starts)]
    assert min(waits) >= 1.99
    assert began + timedelta(seconds=12) <= starts[-1] < began + timedelta(seconds=20)


async def test_what_is_spread_is_sent_when_its_time_has_come_and_not_before(
    gateway: RunningGateway, stores: Stores, database_url: str
) -> None:
    jobs = await dead(stores, 2)
    await replay(gateway, type="calculate", perSecond=0.01)
    first, second = sorted(jobs, key=lambda job: job.id)

    async def status(job_id: UUID) -> str:
        return (await stores.reader.get(job_id)).status

    deadline = time.monotonic() + 10
    while await status(first.id) != Status.QUEUED:  # by the gateway, for no leader is at work yet
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    reasons = (await gateway.client.get(f"/api/jobs/{second.id}/explain")).json()["reasons"]
    assert reasons[0]["code"] == "spread"
    async with leading(database_url) as leader:
        dispatcher = Dispatcher(leader.duties, leader.sender)
        await dispatcher.run(leader.epoch)
        await leader.sender.mark(epoch=leader.epoch)
        assert await leader.duties.stranded({}, older_than_s=0.0, limit=10) == []
        assert await status(second.id) == Status.PENDING
        assert await leader.sent() == 1
        await leader.change(second.id, "ready_at = ready_at - interval '102 s'")
        await dispatcher.run(leader.epoch)
        await leader.sender.mark(epoch=leader.epoch)
        assert await status(second.id) == Status.QUEUED
        assert await leader.sent() == 2
