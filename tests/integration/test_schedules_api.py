"""`/schedules` on a real gateway: what it takes, what it refuses, what it shows, and what it notes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from distriqueue.core.errors import StoreUnavailable
from distriqueue.store.schedules import ScheduleStore
from orchestrator.duties.cron import CronFires
from tests.integration.gateway import RunningGateway, running_gateway
from tests.integration.leader import leading

HOME: Final = "/api/schedules"
PROBLEM: Final = "application/problem+json"
DAILY: Final = {"name": "daily", "cron": "0 4 * * *", "type": "calculate"}
WRONG_EVERYWHERE: Final[list[tuple[dict[str, Any], set[str]]]] = [
    ({"cron": "0 4 * *"}, {"cron"}),
    ({"cron": "0 0 31 2 *"}, {"cron"}),
    ({"cron": None}, {"cron"}),
    ({"timezone": "Mars/Base"}, {"timezone"}),
    ({"timezone": ""}, {"timezone"}),
    ({"type": "distriqueue.webhook"}, {"type"}),
    ({"priority": "urgent", "maxRetries": 101}, {"priority", "maxRetries"}),
    ({"payload": [1]}, {"payload"}),
    ({"payload": {"a": ["\0"]}}, {"payload.a.0"}),
    ({"executionTimeout": "9"}, {"executionTimeout"}),
    ({"overlap": "queue"}, {"overlap"}),
    ({"misfireGrace": -1}, {"misfireGrace"}),
    ({"tags": ["a", ""]}, {"tags.1"}),
    ({"paused": "yes"}, {"paused"}),
    ({"jobPriority": "LOW", "nextFires": []}, {"jobPriority", "nextFires"}),
]
NO_BODIES: Final = [
    (b'{"payload": {"a": NaN}}', "application/json", 400),
    (b'{"payload": {"a": "\\ud800"}}', "application/json", 400),
    (b'{"payload":', "application/json", 400),
    (b'{"payload": {"a": 1e999}}', "application/json", 422),
    (b"[]", "application/json", 422),
    (b'{"payload": {"a": "' + b"x" * 20_000 + b'"}}', "application/json", 413),
    (b'{"paused": true}', "text/plain", 415),
]


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url, max_body_bytes=20_000) as each:
        yield each


async def create(gateway: RunningGateway, **fields: Any) -> dict[str, Any]:
    answer = await gateway.client.post(HOME, json=DAILY | fields)
    assert answer.status_code == 201, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


async def read(gateway: RunningGateway, path: str, **query: Any) -> dict[str, Any]:
    answer = await gateway.client.get(f"{HOME}{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def noted(gateway: RunningGateway) -> list[tuple[str, str]]:
    return [(each.entry.action, each.entry.target) for each in await gateway.parts.audit.page(limit=10)]


def fields_of(answer: httpx.Response) -> set[str]:
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM), answer.text
    return {error["field"] for error in answer.json()["errors"]}


async def test_what_is_created_can_be_read(gateway: RunningGateway) -> None:
    asked = {
        "name": "night ü?#%",
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "type": "calculate",
        "priority": "hIgH",
        "payload": {"numbers": [1, 2.5], "text": "ü"},
        "maxRetries": 1,
        "executionTimeout": 9,
        "tags": ["a", "b"],
        "overlap": "skip",
        "misfireGrace": 0,
        "paused": False,
    }
    answer = await gateway.client.post(HOME, json=asked)
    made = answer.json()
    assert answer.status_code == 201, made
    assert {name: made[name] for name in asked} == asked | {"priority": "HIGH"}
    assert answer.headers["Location"] == made["links"]["self"] == "/api/schedules/night%20%C3%BC%3F%23%25"
    assert made["links"]["jobs"] == "/api/jobs?schedule=night%20%C3%BC%3F%23%25"
    assert made["links"]["run"] == "/api/schedules/night%20%C3%BC%3F%23%25/run"
    assert (made["fired"], made["missed"], made["overlapped"]) == (0, 0, 0)
    assert (made["lastFire"], made["lastJobId"], made["error"]) == (None, None, None)
    assert made["createdAt"] == made["updatedAt"]
    assert (await gateway.client.get(answer.headers["Location"])).json() == made
    assert (await gateway.client.get(made["links"]["jobs"])).json()["content"] == []
    assert await noted(gateway) == [("schedule.create", str(asked["name"]))]


async def test_little_will_do(gateway: RunningGateway) -> None:
    made = await create(gateway)
    assert (made["timezone"], made["priority"], made["payload"], made["tags"]) == ("UTC", "MEDIUM", {}, [])
    assert (made["maxRetries"], made["executionTimeout"], made["misfireGrace"]) == (3, 300, 60)
    assert (made["overlap"], made["paused"]) == ("allow", False)


async def test_a_name_is_taken_once(gateway: RunningGateway) -> None:
    made = await create(gateway)
    answer = await gateway.client.post(HOME, json=DAILY | {"cron": "* * * * *"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert await read(gateway, "/daily") == made


async def test_next_fires_are_as_many_as_asked_for(gateway: RunningGateway) -> None:
    fires = [datetime.fromisoformat(each) for each in (await create(gateway))["nextFires"]]
    assert len(fires) == 5
    assert {(at.hour, at.minute, at.utcoffset()) for at in fires} == {(4, 0, timedelta(0))}
    for count in (0, 1, 50):
        assert len((await read(gateway, "/daily", fires=count))["nextFires"]) == count
        assert len((await read(gateway, "", fires=count))["content"][0]["nextFires"]) == count
    for wrong in ({"fires": 51}, {"fires": -1}, {"fires": "x"}, {"fire": 1}):
        for path in ("", "/daily"):
            answer = await gateway.client.get(f"{HOME}{path}", params=wrong)
            assert fields_of(answer) == set(wrong)


async def test_what_is_wrong_is_named_and_changes_nothing(gateway: RunningGateway) -> None:
    made = await create(gateway, name="kept")
    for wrong, fields in WRONG_EVERYWHERE:
        assert fields_of(await gateway.client.post(HOME, json=DAILY | wrong)) == fields, wrong
        assert fields_of(await gateway.client.patch(f"{HOME}/kept", json=wrong)) == fields, wrong
    assert (await read(gateway, ""))["content"] == [made]


async def test_what_only_creation_can_get_wrong(gateway: RunningGateway) -> None:
    for name in ("", ".", "..", "a/b", "a\n", "a" * 201, "\0", 5):
        assert fields_of(await gateway.client.post(HOME, json=DAILY | {"name": name})) == {"name"}, name
    for name in ("...", ".a", "..a", "a."):
        assert (await read(gateway, f"/{(await create(gateway, name=name))['name']}"))["name"] == name
    assert fields_of(await gateway.client.post(HOME, json={})) == {"name", "cron", "type"}


async def test_what_is_no_body_for_it(gateway: RunningGateway) -> None:
    made = await create(gateway)
    for body, kind, status in NO_BODIES:
        whole = body.replace(b"{", b'{"name": "other", "cron": "* * * * *", "type": "calculate", ', 1)
        for method, path, content in (("POST", "", whole), ("PATCH", "/daily", body)):
            headers = {"Content-Type": kind}
            answer = await gateway.client.request(method, f"{HOME}{path}", content=content, headers=headers)
            assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM), (method, body)
    assert (await read(gateway, ""))["content"] == [made]


async def test_a_change_changes_what_it_names(gateway: RunningGateway) -> None:
    made = await create(gateway, payload={"a": 1}, tags=["x"], maxRetries=7)
    change = {"priority": "low", "payload": {"b": None}, "misfireGrace": 1.5, "tags": []}
    answer = await gateway.client.patch(f"{HOME}/daily", json=change)
    changed = answer.json()
    assert answer.status_code == 200, changed
    assert changed["updatedAt"] > made["updatedAt"]
    assert changed == made | change | {"priority": "LOW", "updatedAt": changed["updatedAt"]}
    assert await read(gateway, "/daily") == changed
    moved = (await gateway.client.patch(f"{HOME}/daily", json={"timezone": "Asia/Tokyo"})).json()
    assert {each[11:16] for each in moved["nextFires"]} == {"19:00"}
    assert await noted(gateway) == [("schedule.change", "daily")] * 2 + [("schedule.create", "daily")]
    details = (await gateway.parts.audit.page(limit=2))[1].entry.details
    assert details == {"fields": ["misfire_grace_s", "payload_json", "priority", "tags"]}


async def test_an_empty_change_changes_nothing(gateway: RunningGateway) -> None:
    made = await create(gateway)
    same = (await gateway.client.patch(f"{HOME}/daily", json={})).json()
    assert same | {"updatedAt": made["updatedAt"]} == made


async def test_paused_it_does_not_fire(gateway: RunningGateway, database_url: str) -> None:
    await create(gateway, cron="* * * * * *")
    paused = (await gateway.client.patch(f"{HOME}/daily", json={"paused": True})).json()
    assert (paused["paused"], paused["nextFires"]) == (True, [])
    async with leading(database_url) as leader:
        store = ScheduleStore(leader.database)
        assert await store.next_due_s() is None
        resumed = (await gateway.client.patch(f"{HOME}/daily", json={"paused": False})).json()
        assert len(resumed["nextFires"]) == 5
        await leader.database.fetch("UPDATE schedules SET next_fire = now() - interval '1 s'")
        assert (await CronFires(store, leader.sender).run(leader.epoch)).done >= 1
    jobs = (await gateway.client.get(resumed["links"]["jobs"])).json()["content"]
    fired = await read(gateway, "/daily")
    assert fired["fired"] == len(jobs)
    assert (fired["lastJobId"], fired["lastFire"]) == (jobs[0]["id"], jobs[0]["scheduledFor"])
    assert {job["scheduleName"] for job in jobs} == {"daily"}


async def run(gateway: RunningGateway, name: str, **headers: str) -> httpx.Response:
    return await gateway.client.post(f"{HOME}/{name}/run", headers=headers)


async def test_run_by_hand_it_makes_the_job_of_a_fire(gateway: RunningGateway) -> None:
    said = {"priority": "HIGH", "payload": {"numbers": [1]}, "maxRetries": 1, "executionTimeout": 9, "tags": ["a"]}
    made = await create(gateway, name="night ü?#%", paused=True, **said)
    answer = await gateway.client.post(made["links"]["run"])
    job = answer.json()
    assert answer.status_code == 202, job
    assert answer.headers["Location"] == job["links"]["self"]
    assert {name: job[name] for name in said} == said
    assert (job["type"], job["scheduleName"]) == ("calculate", "night ü?#%")
    assert job["links"]["schedule"] == made["links"]["self"]
    assert datetime.fromisoformat(job["scheduledFor"]).microsecond != 0  # the place of no fire
    assert (await noted(gateway))[0] == ("schedule.run", "night ü?#%")
    assert (await gateway.report(job["id"], "running"))["answer"] == "accepted"
    assert (await gateway.client.get(made["links"]["self"])).json() == made
    assert [each["id"] for each in (await gateway.client.get(made["links"]["jobs"])).json()["content"]] == [job["id"]]
    assert (await run(gateway, "nothing")).status_code == 404


async def test_one_request_to_run_makes_one_job(gateway: RunningGateway) -> None:
    await create(gateway)
    await create(gateway, name="other")
    key = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(run(gateway, "daily", **key) for _ in range(5)))
    assert {each.status_code for each in answers} <= {202, 409}
    in_flight = [each for each in answers if each.status_code == 409]
    assert {(each.json()["code"], each.headers["Retry-After"]) for each in in_flight} <= {
        ("idempotency_key_in_flight", "1")
    }
    again = await run(gateway, "daily", **key)
    assert again.headers["Idempotency-Replayed"] == "true"
    (job_id,) = {each.json()["id"] for each in [*answers, again] if each.status_code == 202}
    assert again.headers["Location"] == f"/api/jobs/{job_id}"
    assert (await run(gateway, "other", **key)).json()["code"] == "idempotency_key_reused"
    assert fields_of(await run(gateway, "daily", **{"Idempotency-Key": "x" * 256})) == {"Idempotency-Key"}
    assert (await run(gateway, "daily")).json()["id"] != job_id
    assert (await gateway.client.get("/api/jobs")).json()["totalElements"] == 2


async def test_what_is_not_to_overlap_is_not_run_beside_itself(gateway: RunningGateway) -> None:
    await create(gateway, overlap="skip")
    first = (await run(gateway, "daily")).json()
    refused = await run(gateway, "daily")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert f"its job {first['id']} is not over" in refused.json()["detail"]
    await gateway.client.post(first["links"]["cancel"])
    assert (await run(gateway, "daily")).status_code == 202
    await create(gateway, name="beside")
    assert {(await run(gateway, "beside")).status_code for _ in range(3)} == {202}


async def test_one_that_cannot_fire_says_why(gateway: RunningGateway) -> None:
    await create(gateway)
    await gateway.parts.database.fetch(
        "UPDATE schedules SET next_fire = NULL, error = 'timezone: gone', timezone = 'G'"
    )
    broken = await read(gateway, "/daily")
    assert (broken["error"], broken["nextFires"]) == ("timezone: gone", [])
    assert (await run(gateway, "daily")).status_code == 202
    mended = (await gateway.client.patch(f"{HOME}/daily", json={"timezone": "UTC"})).json()
    assert (mended["error"], len(mended["nextFires"])) == (None, 5)


async def test_deleted_it_is_gone_and_its_jobs_stay(gateway: RunningGateway) -> None:
    made = await create(gateway)
    job = await gateway.submit()
    await gateway.parts.database.fetch(
        "UPDATE jobs SET schedule_name = 'daily', schedule_fire_at = now() WHERE id = $1", job["id"]
    )
    deleted = await gateway.client.delete(f"{HOME}/daily")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await noted(gateway))[0] == ("schedule.delete", "daily")
    assert [each["id"] for each in (await gateway.client.get(made["links"]["jobs"])).json()["content"]] == [job["id"]]
    for method in ("GET", "PATCH", "DELETE"):
        body = {"json": {"cron": "0 5 * * *"}} if method == "PATCH" else {}
        answer = await gateway.client.request(method, f"{HOME}/daily", **body)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), method


async def test_the_list_goes_by_name_a_page_at_a_time(gateway: RunningGateway) -> None:
    names = ["a", "b", "ba", "c", "ü"]
    for name in reversed(names):
        await create(gateway, name=name)
    assert [each["name"] for each in (await read(gateway, ""))["content"]] == names
    seen: list[list[str]] = []
    cursor: str | None = ""
    for _ in range(3):
        page = await read(gateway, "", size=2, cursor=cursor)
        assert page["size"] == 2
        seen.append([each["name"] for each in page["content"]])
        cursor = page["nextCursor"]
    assert (seen, cursor) == ([["a", "b"], ["ba", "c"], ["ü"]], None)
    assert (await read(gateway, "", size=5))["nextCursor"] is None
    for wrong in ({"size": 0}, {"size": 101}, {"cursor": "\0"}, {"page": 1}):
        assert fields_of(await gateway.client.get(HOME, params=wrong)) == set(wrong)


async def test_the_list_leaves_large_payloads_out(gateway: RunningGateway) -> None:
    large = {"numbers": list(range(2000))}
    await create(gateway, name="large", payload=large)
    await create(gateway, name="small", payload={"a": 1})
    assert [each["payload"] for each in (await read(gateway, ""))["content"]] == [None, {"a": 1}]
    assert (await read(gateway, "/large"))["payload"] == large
    assert (await gateway.client.patch(f"{HOME}/large", json={"priority": "LOW"})).json()["payload"] == large


async def test_what_cannot_be_noted_is_not_done(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await create(gateway)

    async def away(_entry: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(gateway.parts.audit, "append", away)
    for method, path, body in (
        ("POST", "", DAILY | {"name": "other"}),
        ("PATCH", "/daily", {"priority": "LOW"}),
        ("DELETE", "/daily", None),
        ("POST", "/daily/run", None),
    ):
        answer = await gateway.client.request(method, f"{HOME}{path}", json=body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), method
    assert (await read(gateway, ""))["content"] == [made]
    assert (await gateway.client.get("/api/jobs")).json()["content"] == []


async def test_other_methods_are_told_which_there_are(gateway: RunningGateway) -> None:
    for path, allowed in (("", "GET, POST"), ("/daily", "DELETE, GET, PATCH")):
        answer = await gateway.client.put(f"{HOME}{path}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
