"""The REST contract against a real gateway: answers, refusals, and what is left behind."""

import asyncio
import hashlib
import json
import logging
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest

from distriqueue.core.job import new_job_id
from distriqueue.store.events import Event, EventStore
from gateway.spec import as_yaml
from tests.integration.gateway import RunningGateway, running_gateway, server_sent
from tests.servers.postgres import PostgresServer

NOBODYS: Final = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    """A gateway over a fresh database."""
    async with running_gateway(database_url) as running:
        yield running


def test_the_committed_document_is_the_one_that_is_served() -> None:
    committed = Path(__file__).parents[2].joinpath("docs/api-spec.yaml").read_text("utf-8")
    assert committed == as_yaml(), "run: python -m gateway.spec > docs/api-spec.yaml"


class TestSubmit:
    async def test_the_answer_is_the_job_and_where_it_is(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.post(
            "/api/jobs",
            json={"type": "calculate", "priority": "HIGH", "payload": {"numbers": [1, 2, 3, 4, 5]}, "tags": ["a"]},
        )
        job = answer.json()
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/api/jobs/{job['id']}"
        assert (job["status"], job["priority"], job["payload"]) == ("pending", "HIGH", {"numbers": [1, 2, 3, 4, 5]})
        read = (await gateway.client.get(answer.headers["location"])).json()
        assert read.keys() == job.keys()
        assert {name: read[name] for name in ("payload", "tags", "createdAt", "maxRetries", "executionTimeout")} == {
            name: job[name] for name in ("payload", "tags", "createdAt", "maxRetries", "executionTimeout")
        }

    async def test_the_old_spelling_of_the_priority_in_any_case(self, gateway: RunningGateway) -> None:
        assert (await gateway.submit(jobPriority="critical"))["priority"] == "CRITICAL"
        assert (await gateway.submit(priority="Low"))["priority"] == "LOW"
        assert (await gateway.submit())["priority"] == "MEDIUM"

    async def test_numbers_and_text_come_back_as_they_were_sent(self, gateway: RunningGateway) -> None:
        payload = {"big": 2**70, "float": 0.1, "text": 'ü "\\ \n', "deep": [[[{"a": None}]]], "": True}
        job = await gateway.submit(payload=payload)
        assert (await gateway.client.get(f"/api/jobs/{job['id']}")).json()["payload"] == payload

    async def test_a_chosen_id_is_taken_once(self, gateway: RunningGateway) -> None:
        chosen = str(new_job_id())
        assert (await gateway.submit(id=chosen))["id"] == chosen
        again = await gateway.client.post("/api/jobs", json={"type": "calculate", "id": chosen})
        assert (again.status_code, again.json()["code"]) == (409, "conflict")

    async def test_a_hundred_at_once_are_all_stored(self, gateway: RunningGateway) -> None:
        jobs = await asyncio.gather(*(gateway.submit(payload={"n": n}) for n in range(100)))
        page = (await gateway.client.get("/api/jobs", params={"size": 100})).json()
        assert {job["id"] for job in jobs} == {job["id"] for job in page["content"]}

    async def test_a_job_for_later_waits_scheduled(self, gateway: RunningGateway) -> None:
        job = await gateway.submit(scheduleAt="2099-01-01T00:00:00+02:00")
        assert (job["status"], job["scheduleAt"]) == ("scheduled", "2098-12-31T22:00:00Z")


NUL = '{"type": "calculate", "payload": {"a": ["x\\u0000"]}}'
WRONG: dict[str, tuple[str | bytes, int, str, str | None]] = {
    "nothing": ("", 400, "malformed_json", None),
    "half": ('{"type": "calc', 400, "malformed_json", None),
    "two documents": ('{"type": "a"} {}', 400, "malformed_json", None),
    "not a number": ('{"type": "a", "payload": {"x": NaN}}', 400, "malformed_json", None),
    "not UTF-8": (b'{"type": "\xff"}', 400, "malformed_json", None),
    "half a surrogate": ('{"type": "a", "payload": {"x": "\\ud800"}}', 400, "malformed_json", None),
    "too deep": ('{"type": "a", "payload": ' + '{"a":' * 500 + "1" + "}" * 501, 400, "malformed_json", None),
    "an array": ("[]", 422, "invalid_request", "body"),
    "a string": ('"job"', 422, "invalid_request", "body"),
    "no type": ("{}", 422, "invalid_request", "type"),
    "empty type": ('{"type": ""}', 422, "invalid_request", "type"),
    "type is a number": ('{"type": 5}', 422, "invalid_request", "type"),
    "type with a newline": ('{"type": "a\\nb"}', 422, "invalid_request", "type"),
    "long type": (json.dumps({"type": "x" * 201}), 422, "invalid_request", "type"),
    "payload is a list": ('{"type": "a", "payload": [1]}', 422, "invalid_request", "payload"),
    "retries as text": ('{"type": "a", "maxRetries": "3"}', 422, "invalid_request", "maxRetries"),
    "retries as truth": ('{"type": "a", "maxRetries": true}', 422, "invalid_request", "maxRetries"),
    "too many retries": ('{"type": "a", "maxRetries": 101}', 422, "invalid_request", "maxRetries"),
    "no time": ('{"type": "a", "executionTimeout": 0}', 422, "invalid_request", "executionTimeout"),
    "timeout as text": ('{"type": "a", "executionTimeout": "5"}', 422, "invalid_request", "executionTimeout"),
    "unknown priority": ('{"type": "a", "priority": "URGENT"}', 422, "invalid_request", "priority"),
    "priority as number": ('{"type": "a", "priority": 1}', 422, "invalid_request", "priority"),
    "both priorities": (
        '{"type": "a", "priority": "LOW", "jobPriority": "LOW"}',
        422,
        "invalid_request",
        "jobPriority",
    ),
    "unknown field": ('{"type": "a", "priorty": "LOW"}', 422, "invalid_request", "priorty"),
    "snake_case": ('{"type": "a", "max_retries": 1}', 422, "invalid_request", "max_retries"),
    "time without offset": ('{"type": "a", "scheduleAt": "2030-01-01T00:00:00"}', 422, "invalid_request", "scheduleAt"),
    "time as number": ('{"type": "a", "scheduleAt": 1}', 422, "invalid_request", "scheduleAt"),
    "id is no UUID": ('{"type": "a", "id": "7"}', 422, "invalid_request", "id"),
    "tag as number": ('{"type": "a", "tags": [1]}', 422, "invalid_request", "tags.0"),
    "NUL in the payload": (NUL, 422, "invalid_request", "payload.a.0"),
    "NUL in a key": ('{"type": "a", "payload": {"\\u0000": 1}}', 422, "invalid_request", "payload.'\\x00'"),
    "NUL in the type": ('{"type": "a\\u0000"}', 422, "invalid_request", "type"),
    "NUL in a tag": ('{"type": "a", "tags": ["\\u0000"]}', 422, "invalid_request", "tags.0"),
    "endless number": ('{"type": "a", "payload": {"x": 1e999}}', 422, "invalid_request", "payload.x"),
    "5 MB": (json.dumps({"type": "a", "payload": {"x": "y" * 5_000_000}}), 413, "payload_too_large", None),
}


class TestBadInput:
    @pytest.mark.parametrize("name", WRONG)
    async def test_bad_submissions_get_a_problem_and_leave_nothing(self, gateway: RunningGateway, name: str) -> None:
        body, status, code, field = WRONG[name]
        answer = await gateway.client.post("/api/jobs", content=body, headers={"Content-Type": "application/json"})
        problem = answer.json()
        assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["detail"]
        if field is not None:
            assert field in [error["field"] for error in problem["errors"]], problem
        assert (await gateway.client.get("/api/jobs")).json()["totalElements"] == 0

    async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_mistake_of_ours(
        self, gateway: RunningGateway, caplog: pytest.LogCaptureFixture
    ) -> None:
        await gateway.client.get("/health/live")
        _, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
        writer.write(b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        writer.write(b'Content-Length: 100\r\n\r\n{"type": "a"')
        await writer.drain()
        await gateway.submit()  # by its answer the half request has been read
        writer.close()
        await writer.wait_closed()
        await gateway.submit()
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert (await gateway.client.get("/api/jobs")).json()["totalElements"] == 2

    async def test_chunks_are_counted_too(self, gateway: RunningGateway) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b'{"type": "a", "payload": {"x": "'
            for _ in range(50):
                yield b"y" * 100_000

        answer = await gateway.client.post("/api/jobs", content=chunks(), headers={"Content-Type": "application/json"})
        assert answer.json()["code"] == "payload_too_large"

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
    async def test_what_another_sites_page_could_post_is_not_read(self, gateway: RunningGateway, kind: str) -> None:
        answer = await gateway.client.post("/api/jobs", content='{"type": "a"}', headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            (f"/api/jobs/{NOBODYS}", 404, "not_found"),
            (f"/api/jobs/{NOBODYS}/events", 404, "not_found"),
            (f"/api/jobs/{NOBODYS}/attempts", 404, "not_found"),
            ("/api/jobs/not-a-uuid", 404, "not_found"),
            ("/api/jobs?cursor=nonsense", 422, "invalid_request"),
            ("/api/jobs?cursor=AAAA", 422, "invalid_request"),
            ("/api/jobs?size=101", 422, "invalid_request"),
            ("/api/jobs?page=-1", 422, "invalid_request"),
            ("/api/jobs?page=1001", 422, "invalid_request"),
            ("/api/jobs?status=lost", 422, "invalid_request"),
            ("/api/jobs?createdFrom=yesterday", 422, "invalid_request"),
            ("/api/jobs?worker=%00", 422, "invalid_request"),
            ("/api/jobs?tag=%00", 422, "invalid_request"),
            ("/api/jobs?q=%00", 422, "invalid_request"),
            ("/api/jobs?colour=blue", 422, "invalid_request"),
            ("/api/jobs/stream?lastEventId=abc", 422, "invalid_request"),
            ("/api/jobs/stream?status=lost", 422, "invalid_request"),
            ("/api/jobs/statistics?from=x", 422, "invalid_request"),
            ("/api/nothing", 404, "not_found"),
        ],
    )
    async def test_bad_reads_get_a_problem(self, gateway: RunningGateway, path: str, status: int, code: str) -> None:
        answer = await gateway.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_a_wrong_method_gets_a_problem(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.delete("/api/jobs")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


class TestBatch:
    async def test_all_or_nothing(self, gateway: RunningGateway) -> None:
        jobs: list[Any] = [{"type": "a"}, {"type": "b", "priority": "nope"}, {"type": "c", "x": 1}]
        answer = await gateway.client.post("/api/jobs/batch", json={"jobs": jobs})
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["jobs.1.priority", "jobs.2.x"]
        assert (await gateway.client.get("/api/jobs")).json()["totalElements"] == 0

    async def test_partial_stores_the_good_ones(self, gateway: RunningGateway) -> None:
        jobs: list[Any] = [{"type": "a"}, {"type": "b", "priority": "nope"}, {"type": "c"}]
        answer = (await gateway.client.post("/api/jobs/batch", json={"jobs": jobs, "partial": True})).json()
        assert (answer["totalJobs"], answer["successful"], answer["failed"]) == (3, 2, 1)
        assert answer["jobIds"][1] is None
        assert answer["errors"][0]["index"] == 1
        listed = (await gateway.client.get("/api/jobs", params={"batch": answer["batchId"]})).json()
        assert {job["id"] for job in listed["content"]} == {id_ for id_ in answer["jobIds"] if id_}

    async def test_a_bare_array_is_a_batch(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.post("/api/jobs/batch", json=[{"type": "a"}] * 1000)
        assert (answer.status_code, answer.json()["successful"]) == (202, 1000)

    async def test_a_taken_id_stores_nothing(self, gateway: RunningGateway) -> None:
        taken = (await gateway.submit())["id"]
        answer = await gateway.client.post("/api/jobs/batch", json=[{"type": "a"}, {"type": "a", "id": taken}])
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert (await gateway.client.get("/api/jobs")).json()["totalElements"] == 1

    @pytest.mark.parametrize("body", [[], {"jobs": []}, {"jobs": [{"type": "a"}] * 1001}, {"job": []}, "x"])
    async def test_bounds_and_shape(self, gateway: RunningGateway, body: Any) -> None:
        answer = await gateway.client.post("/api/jobs/batch", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


class TestReports:
    async def test_one_in_one_out_and_a_list_in_a_list_out(self, gateway: RunningGateway) -> None:
        job = await gateway.submit()
        one = await gateway.report(job["id"], "running")
        assert one == {"jobId": job["id"], "attempt": 1, "answer": "accepted"}
        other = str(new_job_id())
        answers = (
            await gateway.client.post(
                "/api/jobs/status",
                json=[
                    {"jobId": other, "attempt": 1, "status": "running", "workerId": "w1"},
                    {"jobId": job["id"], "attempt": 1, "status": "completed", "workerId": "w1", "result": {"sum": 15}},
                    {"jobId": other, "attempt": 1, "status": "completed", "workerId": "w1"},
                ],
            )
        ).json()
        assert [(answer["answer"], answer.get("reason")) for answer in answers] == [
            ("refused", "unknown_job"),
            ("accepted", None),
            ("stale", "unknown_job"),
        ]
        read = (await gateway.client.get(f"/api/jobs/{job['id']}")).json()
        assert (read["status"], read["result"], read["workerId"]) == ("completed", {"sum": 15}, "w1")
        assert read["totalDurationMs"] >= read["executionTimeMs"] >= 0

    @pytest.mark.parametrize(
        "change",
        [
            {"attempt": 0},
            {"attempt": 2**31},
            {"status": "queued"},
            {"workerId": "a\0"},
            {"progress": 101},
            {"jobId": 1},
        ],
    )
    async def test_a_wrong_report_is_named(self, gateway: RunningGateway, change: dict[str, Any]) -> None:
        report = {"jobId": str(new_job_id()), "attempt": 1, "status": "running", "workerId": "w1"} | change
        answer = await gateway.client.post("/api/jobs/status", json=[report])
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == f"0.{next(iter(change))}"

    async def test_an_empty_list_is_answered_with_one(self, gateway: RunningGateway) -> None:
        assert (await gateway.client.post("/api/jobs/status", json=[])).json() == []


class TestActions:
    async def test_cancel_waiting_running_and_finished(self, gateway: RunningGateway) -> None:
        waiting, running = await gateway.submit(), await gateway.submit()
        await gateway.report(running["id"], "running")
        answer = await gateway.client.post(f"/api/jobs/{waiting['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        answer = await gateway.client.post(f"/api/jobs/{running['id']}/cancel")
        assert (answer.status_code, answer.json()["status"], answer.json()["cancelRequested"]) == (202, "running", True)
        answer = await gateway.client.post(f"/api/jobs/{waiting['id']}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    async def test_retry_runs_it_again_with_its_history(self, gateway: RunningGateway) -> None:
        job = await gateway.submit(maxRetries=0)
        assert (await gateway.client.post(f"/api/jobs/{job['id']}/retry")).status_code == 409
        await gateway.report(job["id"], "running")
        await gateway.report(job["id"], "failed", errorMessage="boom")
        again = (await gateway.client.post(f"/api/jobs/{job['id']}/retry")).json()
        assert (again["status"] in ("pending", "queued"), again["attempt"]) == (True, 2)
        attempts = (await gateway.client.get(f"/api/jobs/{job['id']}/attempts")).json()
        assert [(attempt["attempt"], attempt["outcome"], attempt["error"]) for attempt in attempts] == [
            (1, "failed", {"message": "boom"})
        ]


class TestReading:
    async def test_pages_and_cursor(self, gateway: RunningGateway) -> None:
        await gateway.client.post("/api/jobs/batch", json=[{"type": "a"}] * 25)
        page = (await gateway.client.get("/api/jobs", params={"page": 1, "size": 10})).json()
        assert (page["totalElements"], page["totalPages"], len(page["content"])) == (25, 3, 10)
        seen: list[str] = []
        query = {"size": "10"}
        while True:
            page = (await gateway.client.get("/api/jobs", params=query)).json()
            seen += [job["id"] for job in page["content"]]
            if page["nextCursor"] is None:
                break
            query = {"size": "10", "cursor": page["nextCursor"]}
        assert len(set(seen)) == len(seen) == 25

    async def test_a_list_says_what_it_leaves_out(self, gateway: RunningGateway) -> None:
        large = list(range(5_000))
        job = await gateway.submit(payload={"numbers": large})
        await gateway.report(job["id"], "running")
        await gateway.report(job["id"], "completed", result=large)
        nothing = await gateway.submit()
        await gateway.report(nothing["id"], "running")
        await gateway.report(nothing["id"], "completed")
        listed = (await gateway.client.get("/api/jobs")).json()["content"]
        assert [(each["payload"], each["result"]) for each in listed] == [({}, None), (None, None)]
        assert [each["omitted"] for each in listed] == [[], ["payload", "result"]]
        whole = (await gateway.client.get(f"/api/jobs/{job['id']}")).json()
        assert (whole["result"], whole["omitted"], job["omitted"]) == (large, [], [])

    async def test_the_links_of_a_job_lead_somewhere(self, gateway: RunningGateway) -> None:
        parent = await gateway.submit()
        batch = (await gateway.client.post("/api/jobs/batch", json=[{"type": "a", "dependsOn": [parent["id"]]}])).json()
        job = (await gateway.client.get(f"/api/jobs/{batch['jobIds'][0]}")).json()
        links = job["links"]
        assert (parent["links"]["batch"], parent["links"]["parents"], links["schedule"]) == (None, [], None)
        assert links["batch"] == f"/api/batches/{batch['batchId']}"
        assert links["parents"] == [parent["links"]["self"]]
        followed = {"stream"}  # it has no end
        orders = {"cancel", "retry"}
        pages = [
            *links["parents"],
            *(links[name] for name in links.keys() - followed - orders - {"parents", "schedule"}),
        ]
        for page in pages:
            assert (await gateway.client.get(page)).status_code == 200, page
        for name in ("cancel", "retry"):
            assert (await gateway.client.post(links[name])).status_code == 200, name

    async def test_statistics(self, gateway: RunningGateway) -> None:
        for end in ("completed", "completed", "failed"):
            job = await gateway.submit(maxRetries=0)
            await gateway.report(job["id"], "running")
            await gateway.report(job["id"], end)
        await gateway.submit(type="transform", priority="LOW")
        figures = (await gateway.client.get("/api/jobs/statistics")).json()
        assert figures["total"] == 4
        assert (figures["byStatus"]["completed"], figures["byStatus"]["failed"]) == (2, 1)
        assert figures["successRate"] == pytest.approx(2 / 3)
        assert [(group["name"], group["total"]) for group in figures["byType"]] == [("calculate", 3), ("transform", 1)]
        assert [group["name"] for group in figures["byWorker"]] == ["w1"]
        assert sum(hour["finished"] for hour in figures["hourly"]) == 3

    @pytest.mark.parametrize(
        "path",
        [
            "/api-docs",
            "/api/api-docs",
            "/swagger-ui.html",
            "/api/swagger-ui.html",
            "/actuator/info",
            "/api/actuator/info",
            "/api/actuator/health",
            "/actuator/health",
            "/api/actuator/prometheus",
            "/actuator/prometheus",
            "/metrics",
            "/health/live",
            "/health/ready",
        ],
    )
    async def test_documentation_and_metrics_answer(self, gateway: RunningGateway, path: str) -> None:
        assert (await gateway.client.get(path)).status_code == 200


class TestDocumentation:
    async def test_swagger_ui_needs_nothing_from_elsewhere(self, gateway: RunningGateway) -> None:
        page = await gateway.client.get("/swagger-ui.html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for reference in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert reference.startswith("/")
            assert (await gateway.client.get(reference)).status_code == 200, reference

    def test_what_others_made_is_unchanged(self) -> None:
        vendor = Path(__file__).parents[2].joinpath("gateway/vendor")
        listed = dict(line.split("  ")[::-1] for line in vendor.joinpath("SHA256SUMS").read_text("utf-8").splitlines())
        found = {path.relative_to(vendor).as_posix(): path for path in vendor.glob("*/*")}
        assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()} == listed


class TestStream:
    async def test_connected_then_every_transition_and_resume_after_any(self, gateway: RunningGateway) -> None:
        events = []
        async with asyncio.timeout(20), gateway.client.stream("GET", "/api/jobs/stream") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            job: dict[str, Any] = {}
            async for event in server_sent(answer):
                events.append(event)
                if event.name == "connected":
                    job = await gateway.submit(priority="HIGH")
                    await gateway.report(job["id"], "running")
                    await gateway.report(job["id"], "running", progress=50)
                    await gateway.report(job["id"], "completed")
                elif event.data["status"] == "completed":
                    break
        assert events[0].name == "connected"
        updates = events[1:]
        assert {event.data["jobId"] for event in updates} == {job["id"]}
        seen = [event.data["status"] for event in updates if event.data["status"] != "queued"]
        assert seen == ["pending", "running", "running", "completed"]
        for after, expected in ((events[0].id, updates), (updates[1].id, updates[2:])):
            async with (
                asyncio.timeout(20),
                gateway.client.stream("GET", "/api/jobs/stream", headers={"Last-Event-ID": str(after)}) as answer,
            ):
                resumed = []
                async for event in server_sent(answer):
                    resumed.append(event)
                    if event.data.get("status") == "completed":
                        break
            assert resumed[1:] == expected

    async def test_filters(self, gateway: RunningGateway) -> None:
        start = gateway.parts.hub
        await start.ready()
        wanted, other = await gateway.submit(type="resize"), await gateway.submit(type="other")
        for job in (other, wanted):
            await gateway.report(job["id"], "running")
            await gateway.report(job["id"], "completed")
        for query in (
            {"jobId": wanted["id"], "status": "completed"},
            {"type": "resize", "status": "COMPLETED"},
        ):
            async with (
                asyncio.timeout(20),
                gateway.client.stream("GET", "/api/jobs/stream", params=query | {"lastEventId": "0"}) as answer,
            ):
                async for event in server_sent(answer):
                    if event.name == "job-update":
                        assert (event.data["jobId"], event.data["status"]) == (wanted["id"], "completed")
                        break

    async def test_an_id_of_the_future_and_one_that_was_deleted_get_a_reset(self, gateway: RunningGateway) -> None:
        await gateway.submit()
        await gateway.parts.database.fetch("UPDATE event_floor SET seq = 1")
        for after in ("999999999", "0"):
            async with (
                asyncio.timeout(20),
                gateway.client.stream("GET", "/api/jobs/stream", headers={"Last-Event-ID": after}) as answer,
            ):
                names = []
                async for event in server_sent(answer):
                    names.append(event.name)
                    if len(names) == 2:
                        break
            assert names == ["connected", "reset"]

    async def test_a_client_that_retention_overtakes_gets_a_reset(
        self, gateway: RunningGateway, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await gateway.submit()
        read = EventStore.between

        async def overtaken(store: EventStore, after: int, until: int, limit: int) -> list[Event]:
            page = await read(store, after, until, limit)
            await gateway.parts.database.fetch("UPDATE event_floor SET seq = $1", until)
            return page

        monkeypatch.setattr(EventStore, "between", overtaken)
        async with (
            running_gateway(database_url) as later,
            asyncio.timeout(20),
            later.client.stream("GET", "/api/jobs/stream", headers={"Last-Event-ID": "0"}) as answer,
        ):
            names = []
            async for event in server_sent(answer):
                names.append(event.name)
                if len(names) == 2:
                    break
        assert names == ["connected", "reset"]

    async def test_a_client_that_takes_nothing_is_cut_off(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.api.stream.SEND_TIMEOUT_S", 0.5)
        monkeypatch.setattr("distriqueue.lifecycle.DEAF_S", 1.0)
        async with running_gateway(database_url) as gateway:
            await gateway.client.get("/health/live")
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                deaf.connect(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
                deaf.sendall(b"GET /api/jobs/stream?lastEventId=0 HTTP/1.1\r\nHost: x\r\n\r\n")
                for _ in range(20):  # more than the kernel's buffers hold
                    await gateway.client.post("/api/jobs/batch", json=[{"type": "x" * 200}] * 1000)
                here = deaf.getsockname()
                async with asyncio.timeout(30):
                    while gateway.parts.hub.clients or _is_held(here):  # noqa: ASYNC110 -- the kernel tells nobody
                        await asyncio.sleep(0.05)


def _is_held(client: tuple[str, int]) -> bool:
    return any(each.raddr == client for each in psutil.Process().net_connections("tcp"))


class TestOutage:
    async def test_postgres_down_is_a_503_and_heals_by_itself(
        self, gateway: RunningGateway, postgres_server: PostgresServer
    ) -> None:
        await gateway.submit()
        postgres_server.stop()
        try:
            answer = await gateway.client.post("/api/jobs", json={"type": "calculate"})
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert (await gateway.client.get("/actuator/health")).json()["components"]["database"]["status"] == "DOWN"
            assert (await gateway.client.get("/health/ready")).status_code == 503
            assert (await gateway.client.get("/health/live")).status_code == 200
        finally:
            postgres_server.start()
        async with asyncio.timeout(20):
            answer = httpx.Response(503)
            while answer.status_code != 202:
                answer = await gateway.client.post("/api/jobs", json={"type": "calculate"})
        assert (await gateway.client.get("/health/ready")).json()["status"] == "UP"
