"""What is sent twice is done once, over two gateways."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.gateway import RunningGateway, running_gateway

Two = tuple[RunningGateway, RunningGateway]


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Two]:
    """Two gateways on one database."""
    async with running_gateway(database_url) as first, running_gateway(database_url) as second:
        yield first, second


async def post(
    gateway: RunningGateway, body: Any, *, key: str | None = None, path: str = "/api/jobs"
) -> httpx.Response:
    """Post, and again while the first request with the key is being worked on."""
    headers = {} if key is None else {"Idempotency-Key": key}
    for _ in range(200):
        answer = await gateway.client.post(path, json=body, headers=headers)
        if answer.status_code != 409 or answer.json()["code"] != "idempotency_key_in_flight":
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"{key} is in flight for ever")


async def together(two: Two, posts: list[tuple[Any, str | None]]) -> list[httpx.Response]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(two[n % 2], body, key=key)) for n, (body, key) in enumerate(posts)]
    return [task.result() for task in tasks]


async def count(two: Two) -> int:
    listed = await two[0].client.get("/api/jobs")
    return int(listed.json()["totalElements"])


async def test_a_thousand_posts_with_a_hundred_idempotency_keys_make_a_hundred_jobs(two: Two) -> None:
    posts: list[tuple[Any, str | None]] = [
        ({"type": "calculate", "payload": {"numbers": [n % 100]}}, f"key-{n % 100}") for n in range(1000)
    ]
    answers = await together(two, posts)
    assert {answer.status_code for answer in answers} == {202}
    by_key: dict[str, set[bytes]] = defaultdict(set)
    for (_, key), answer in zip(posts, answers, strict=True):
        by_key[str(key)].add(answer.content)
    assert {len(told) for told in by_key.values()} == {1}
    assert sum(answer.headers.get("Idempotency-Replayed") != "true" for answer in answers) == 100
    assert await count(two) == 100


async def test_a_thousand_posts_with_a_hundred_unique_keys_make_a_hundred_jobs(two: Two) -> None:
    body = {"type": "calculate", "onConflict": "return_existing"}
    answers = await together(two, [(body | {"uniqueKey": f"u-{n % 100}"}, None) for n in range(1000)])
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(200)) == (100, 900)
    assert len({answer.json()["id"] for answer in answers}) == await count(two) == 100


async def test_a_taken_unique_key_is_refused_a_hundred_times_over(two: Two) -> None:
    body = {"type": "calculate"}
    answers = await together(two, [(body | {"uniqueKey": f"u-{n % 20}"}, None) for n in range(200)])
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(409)) == (20, 180)
    assert await count(two) == 20


async def test_a_replay_is_the_first_answer_even_after_the_job_has_ended(two: Two) -> None:
    body = {"type": "calculate", "payload": {"b": 1, "a": 2}}
    first = await post(two[0], body, key="k")
    job = first.json()
    await two[0].report(job["id"], "running")
    await two[0].report(job["id"], "completed", result={})
    again = await post(two[1], {"payload": {"a": 2, "b": 1}, "type": "calculate"}, key="k")
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (job, "true")


async def test_a_key_with_another_request_is_refused(two: Two) -> None:
    await post(two[0], {"type": "calculate"}, key="k")
    for body, path in (({"type": "validate"}, "/api/jobs"), ([{"type": "calculate"}], "/api/jobs/batch")):
        other = await post(two[1], body, key="k", path=path)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_batch_is_replayed_whole(two: Two) -> None:
    body = {"jobs": [{"type": "calculate"}, {"type": ""}, {"type": "validate"}], "partial": True}
    first = await post(two[0], body, key="k", path="/api/jobs/batch")
    again = await post(two[1], body, key="k", path="/api/jobs/batch")
    assert again.json() == first.json()
    assert await count(two) == 2


async def test_a_refused_request_uses_no_key_up(two: Two) -> None:
    own = str(uuid.uuid4())
    assert (await post(two[0], {"type": "calculate", "id": own})).status_code == 202
    assert (await post(two[0], {"type": "calculate", "id": own}, key="k")).status_code == 409
    assert (await post(two[0], {"type": "calculate"}, key="k")).status_code == 202


async def test_integers_of_any_size_have_a_fingerprint(two: Two) -> None:
    answer = await post(two[0], {"type": "calculate", "payload": {"n": 10**30}}, key="k")
    assert answer.status_code == 202
