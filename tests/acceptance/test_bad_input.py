"""A storm of bad and good requests at once: no answer is the server's fault, and nothing is left half-written."""

import asyncio
import json
import random
from collections import Counter
from typing import Any, Final

import pytest

from tests.acceptance.client import Connection, Reply, get
from tests.acceptance.stack import Ground

pytestmark = pytest.mark.stack

GOOD: Final[dict[str, Any]] = {"type": "record", "payload": {}}
UNKNOWN: Final = "01900000-0000-7000-8000-000000000000"
JOBS: Final = "/api/jobs"
BATCH: Final = "/api/jobs/batch"
REPORT: Final = "/api/jobs/status"

Case = tuple[str, str, bytes, int]
"""Method, path, body, and the status that is right."""


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


BAD: Final[list[Case]] = [
    ("POST", JOBS, b"{", 400),
    ("POST", JOBS, b"", 400),
    ("POST", JOBS, b"\xff\xfe", 400),
    ("POST", JOBS, b"[" * 100_000, 400),
    ("POST", JOBS, b"[]", 422),
    ("POST", JOBS, _json({"payload": {}}), 422),
    ("POST", JOBS, _json(GOOD | {"priority": "URGENT"}), 422),
    ("POST", JOBS, _json(GOOD | {"colour": "red"}), 422),
    ("POST", JOBS, _json(GOOD | {"maxRetries": "many"}), 422),
    ("POST", JOBS, _json(GOOD | {"payload": []}), 422),
    ("POST", JOBS, _json(GOOD | {"payload": {"text": "a\0b"}}), 422),
    ("POST", JOBS, _json({"type": "a\0b"}), 422),
    ("POST", JOBS, _json(GOOD | {"payload": {"text": "x" * 5_000_000}}), 413),
    ("POST", BATCH, _json([GOOD, GOOD | {"type": ""}]), 422),
    ("POST", BATCH, _json({"jobs": [GOOD] * 1001}), 422),
    ("POST", BATCH, _json([GOOD | {"id": UNKNOWN}, GOOD | {"id": UNKNOWN}]), 422),
    ("POST", REPORT, b"nonsense", 400),
    ("POST", REPORT, _json([{"jobId": "x"}]), 422),
    ("POST", REPORT, _json({"jobId": UNKNOWN, "attempt": 1, "status": "flying", "workerId": "w"}), 422),
    ("GET", f"{JOBS}/{UNKNOWN}", b"", 404),
    ("GET", f"{JOBS}/nonsense", b"", 404),
    ("GET", f"{JOBS}?cursor=nonsense", b"", 422),
    ("GET", f"{JOBS}?size=0&colour=red", b"", 422),
    ("GET", f"{JOBS}?q=%00", b"", 422),
    ("POST", f"{JOBS}/{UNKNOWN}/cancel", b"", 404),
    ("POST", f"{JOBS}/{UNKNOWN}/retry", b"", 404),
    ("DELETE", JOBS, b"", 405),
]
FINE: Final[list[Case]] = [
    ("POST", JOBS, _json(GOOD), 202),
    ("POST", BATCH, _json([GOOD] * 7), 202),
    ("POST", BATCH, _json({"jobs": [GOOD, {"type": 3}, GOOD], "partial": True}), 202),
    ("POST", REPORT, _json([{"jobId": UNKNOWN, "attempt": 1, "status": "completed", "workerId": "w"}]), 200),
    ("GET", JOBS, b"", 200),
    ("GET", f"{JOBS}/statistics", b"", 200),
]
ROUNDS: Final = 20
CONNECTIONS: Final = 16


async def test_a_storm_of_bad_requests_leaves_nothing_behind(ground: Ground) -> None:
    async with ground.platform(workers=1, capacity=20) as platform:
        cases = (BAD + FINE * 3) * ROUNDS
        random.Random(7).shuffle(cases)
        answered = await _storm(platform.url, cases)
        wrong = Counter((*case[:2], case[2][:60], reply.status) for case, reply in answered if reply.status != case[3])
        assert not wrong, wrong
        for _, reply in answered:
            if reply.status >= 400:
                assert {"type", "title", "status", "code", "detail", "instance"} <= reply.json().keys()
        expected = sum(_stored(case, reply) for case, reply in answered)
        await platform.until_over()
        assert await platform.statuses() == {"completed": expected}
        assert platform.ledger.count("end") == expected
        (half,) = await platform.sql(
            "SELECT count(*) AS silent FROM jobs j"
            " WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.job_id = j.id AND e.status = 'pending')"
        )
        (strays,) = await platform.sql(
            "SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = e.job_id)"
        )
        assert (half["silent"], strays["count"]) == (0, 0)
        assert (await get(platform.url, f"{JOBS}/statistics"))["total"] == expected


async def _storm(url: str, cases: list[Case]) -> list[tuple[Case, Reply]]:

    waiting = iter(cases)
    answered: list[tuple[Case, Reply]] = []

    async def send() -> None:
        connection = Connection(url)
        for case in waiting:
            method, path, body, _ = case
            answered.append((case, await connection.call(method, path, body)))
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(send())
    return answered


def _stored(case: Case, reply: Reply) -> int:
    """Return how many jobs the gateway said that it has stored."""
    if reply.status != 202:
        return 0
    return int(reply.json()["successful"]) if case[1] == BATCH else 1
