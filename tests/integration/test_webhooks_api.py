"""Deliveries over REST: what was sent to a job's or batch's `callbackUrl`, how it went, and sending it again."""

import uuid
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from distriqueue.store.duties import DutyStore
from distriqueue.store.leadership import LeadershipStore
from tests.integration.gateway import RunningGateway, running_gateway

HOOK = "https://example.org/hook"


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        yield running


async def ended(gateway: RunningGateway, **fields: Any) -> str:
    """Return a job with a callback that is over."""
    job_id: str = (await gateway.submit(callbackUrl=HOOK, **fields))["id"]
    await gateway.report(job_id, "running")
    await gateway.report(job_id, "completed", result={"n": 1})
    return job_id


async def deliveries(gateway: RunningGateway, of: str) -> list[dict[str, Any]]:
    answer = await gateway.client.get(f"/api/{of}/webhooks")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def fall_due(gateway: RunningGateway) -> None:
    """What waits for its retry is to be tried now."""
    database = gateway.parts.database
    await LeadershipStore(database).claim(1, node="n", boot="b")
    await database.fetch("UPDATE jobs SET due_at = now() WHERE status = 'retrying'")
    assert (await DutyStore(database).promote(limit=10, epoch=1)).jobs == 1


async def test_a_delivery_from_its_making_over_a_failure_to_its_end(gateway: RunningGateway) -> None:
    job_id = await ended(gateway)
    [made] = await deliveries(gateway, f"jobs/{job_id}")
    assert (made["url"], made["event"], made["attempts"]) == (HOOK, "job.completed", [])
    assert made["status"] in ("pending", "queued")
    assert made["messageId"] == "msg_" + made["id"].replace("-", "")
    assert (made["nextAttemptAt"], made["deliveredAt"], made["answer"], made["error"]) == (None, None, None, None)

    await gateway.report(made["id"], "running")
    failure: dict[str, Any] = {"errorType": "webhook_failed", "errorMessage": "the receiver answered 503"}
    failure["traceback"] = "long"
    await gateway.report(made["id"], "failed", **failure)
    [failed] = await deliveries(gateway, f"jobs/{job_id}")
    assert failed["status"] == "retrying"
    assert failed["nextAttemptAt"] > failed["createdAt"]
    assert failed["error"]["message"] == "the receiver answered 503"
    [attempt] = failed["attempts"]
    assert (attempt["attempt"], attempt["outcome"], attempt["workerId"]) == (1, "failed", "w1")
    assert attempt["error"] == {"type": "webhook_failed", "message": "the receiver answered 503"}

    await fall_due(gateway)
    await gateway.report(made["id"], "running", attempt=2)
    await gateway.report(made["id"], "completed", attempt=2, result={"status": 204, "durationMs": 7, "answer": ""})
    [over] = await deliveries(gateway, f"jobs/{job_id}")
    assert (over["status"], over["attempt"], over["answer"]["status"]) == ("completed", 2, 204)
    assert over["deliveredAt"] is not None
    assert over["nextAttemptAt"] is None
    assert [(each["attempt"], each["outcome"]) for each in over["attempts"]] == [(1, "failed"), (2, "completed")]


async def test_each_end_has_a_webhook_of_its_own_the_newest_first(gateway: RunningGateway) -> None:
    job_id: str = (await gateway.submit(callbackUrl=HOOK))["id"]
    await gateway.client.post(f"/api/jobs/{job_id}/cancel")
    await gateway.client.post(f"/api/jobs/{job_id}/retry")
    await gateway.report(job_id, "running", attempt=2)
    await gateway.report(job_id, "completed", attempt=2)
    found = await deliveries(gateway, f"jobs/{job_id}")
    assert [each["event"] for each in found] == ["job.completed", "job.cancelled"]
    assert len({each["messageId"] for each in found}) == 2


async def test_a_replay_is_the_same_message_in_a_job_of_its_own(gateway: RunningGateway) -> None:
    job_id = await ended(gateway)
    [first] = await deliveries(gateway, f"jobs/{job_id}")
    answer = await gateway.client.post(first["links"]["replay"])
    assert answer.status_code == 202
    again = answer.json()
    assert again["id"] != first["id"]
    assert again["messageId"] == first["messageId"]
    assert [each["id"] for each in await deliveries(gateway, f"jobs/{job_id}")] == [again["id"], first["id"]]
    jobs = [(await gateway.client.get(f"/api/jobs/{each['id']}")).json() for each in (first, again)]
    assert jobs[0]["payload"] == jobs[1]["payload"]
    assert jobs[1]["maxRetries"] == 8
    assert jobs[0]["retryPolicy"] == jobs[1]["retryPolicy"]
    third = (await gateway.client.post(again["links"]["replay"])).json()
    assert third["messageId"] == first["messageId"]
    trail = (await gateway.client.get("/api/audit")).json()["content"]
    assert [(entry["action"], entry["target"]) for entry in trail] == [
        ("webhook.replay", again["id"]),
        ("webhook.replay", first["id"]),
    ]


async def test_a_batchs_webhook_is_shown_and_replayed_too(gateway: RunningGateway) -> None:
    body = {"jobs": [{"type": "calculate"}], "callbackUrl": HOOK}
    told = (await gateway.client.post("/api/jobs/batch", json=body)).json()
    assert await deliveries(gateway, f"batches/{told['batchId']}") == []
    await gateway.report(told["jobIds"][0], "running")
    await gateway.report(told["jobIds"][0], "completed")
    [made] = await deliveries(gateway, f"batches/{told['batchId']}")
    assert made["event"] == "batch.finished"
    again = (await gateway.client.post(made["links"]["replay"])).json()
    assert len(await deliveries(gateway, f"batches/{told['batchId']}")) == 2
    assert again["messageId"] == made["messageId"]
    assert await deliveries(gateway, f"jobs/{told['jobIds'][0]}") == []


async def test_a_replay_outlives_what_it_was_of(gateway: RunningGateway) -> None:
    job_id = await ended(gateway)
    [first] = await deliveries(gateway, f"jobs/{job_id}")
    await gateway.parts.database.fetch("DELETE FROM jobs WHERE id = $1", UUID(job_id))
    assert (await gateway.client.post(first["links"]["replay"])).status_code == 202


async def test_other_children_are_no_webhooks_and_unknown_ids_are_not_found(gateway: RunningGateway) -> None:
    parent = (await gateway.submit())["id"]
    child = (await gateway.submit(dependsOn=[parent]))["id"]
    assert await deliveries(gateway, f"jobs/{parent}") == []
    nobody = uuid.uuid4()
    for path in (f"jobs/{nobody}/webhooks", f"batches/{nobody}/webhooks"):
        assert (await gateway.client.get(f"/api/{path}")).status_code == 404
    for each in (nobody, child):  # an ordinary job cannot be sent as a webhook
        answer = await gateway.client.post(f"/api/webhooks/{each}/replay")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_only_the_newest_attempts_are_shown(gateway: RunningGateway) -> None:
    job_id = await ended(gateway)
    [made] = await deliveries(gateway, f"jobs/{job_id}")
    await gateway.parts.database.fetch(
        "INSERT INTO attempts (job_id, attempt, worker_id, outcome)"
        " SELECT $1, n, 'w', 'lost' FROM generate_series(1, 30) AS n",
        UUID(made["id"]),
    )
    [shown] = await deliveries(gateway, f"jobs/{job_id}")
    assert [each["attempt"] for each in shown["attempts"]] == list(range(11, 31))
