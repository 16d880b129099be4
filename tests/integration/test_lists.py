"""Lists of jobs against brute force: whatever the filter and the page, each matching job once, newest first."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.states import Status
from distriqueue.store import jobs as job_store
from distriqueue.store import reads, reports
from distriqueue.store.filters import id_range
from distriqueue.store.listing import ways
from distriqueue.store.query import compiled
from distriqueue.store.reads import Job, JobFilter, Position
from tests.integration.conftest import Stores, new_job

NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
TYPES: Final = ("mail", "resize", "report", "rare")
TAGS: Final = ("blue", "round", "large")
PAYLOADS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"user": {"id": 7}},
    {"user": {"id": "7", "vip": True}},
    {"user": {"id": 70}},
    {"user": [7, "a b"]},
)
BATCHES: Final = (new_job_id(), new_job_id())
WORKERS: Final = ("w1", "w2", "gone")
JOBS: Final = 120

Check = Callable[[Job], bool]

INSERT: Final = """
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, created_at, worker_id, started_at,
                  due_at, finished_at, batch_id, schedule_name, schedule_fire_at, tags, error, fingerprint, payload)
VALUES ($1, $2, $3, $4, 0, 1, $5, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14, $15)"""


async def filled(stores: Stores, rng: random.Random) -> list[Job]:
    """Store jobs of all kinds, many of them at the same instant, and return them as lists show them."""
    ids = []
    for n in range(JOBS):
        status = rng.choice(list(Status))
        ended = status.value in ("completed", "failed", "timeout", "cancelled")
        failed = status.value in ("failed", "timeout")
        started = ended or status in (Status.RUNNING, Status.RETRYING)
        at = NOON + timedelta(seconds=rng.randrange(12))
        job_id = new_job_id()
        ids.append(job_id)
        scheduled = rng.random() < 0.2
        await stores.database.fetch(
            INSERT,
            job_id,
            rng.choices(TYPES, (60, 30, 20, 1))[0],
            rng.choice(list(Priority)[1:]).value,
            status.value,
            at,
            rng.choice(WORKERS) if started else None,
            at,
            at + timedelta(seconds=5) if ended else None,
            rng.choice(BATCHES) if rng.random() < 0.3 else None,
            "nightly" if scheduled else None,
            at + timedelta(microseconds=n) if scheduled else None,
            rng.sample(TAGS, rng.randrange(3)),
            rng.choice(('{"message": "No such FILE"}', '{"message": "100% wrong"}')) if failed else None,
            rng.choice(("f1", "f2")) if failed else None,
            json.dumps(rng.choice(PAYLOADS)),
        )
    jobs = [await stores.reader.get(job_id) for job_id in ids]
    return sorted(jobs, key=lambda job: (job.created_at, job.id.bytes), reverse=True)


def user(job: Job, name: str) -> Any:
    """Return what the payload says of its user."""
    said = json.loads(job.payload or "{}").get("user", {})
    return said.get(name) if isinstance(said, dict) else None


def conditions(jobs: list[Job]) -> list[tuple[dict[str, Any], Check]]:
    """Return parts of filters, each with what it means."""
    some = jobs[JOBS // 2]
    middle = NOON + timedelta(seconds=6)
    return [
        ({"statuses": (Status.FAILED,)}, lambda job: job.status == "failed"),
        ({"statuses": (Status.COMPLETED,)}, lambda job: job.status == "completed"),
        ({"statuses": (Status.PENDING,)}, lambda job: job.status == "pending"),
        (
            {"statuses": (Status.FAILED, Status.RUNNING, Status.FAILED, Status.COMPLETED)},
            lambda job: job.status in ("failed", "running", "completed"),
        ),
        ({"priorities": (Priority.LOW,)}, lambda job: job.priority == "LOW"),
        ({"priorities": (Priority.CRITICAL,)}, lambda _: False),
        ({"priorities": tuple(Priority)}, lambda _: True),
        ({"types": ("mail",)}, lambda job: job.type == "mail"),
        ({"types": ("rare",)}, lambda job: job.type == "rare"),
        ({"types": ("rare", "report", "none", "rare")}, lambda job: job.type in ("rare", "report")),
        ({"tags": ("blue",)}, lambda job: "blue" in job.tags),
        ({"tags": ("blue", "round", "blue")}, lambda job: {"blue", "round"} <= set(job.tags)),
        ({"tags": ("none",)}, lambda _: False),
        ({"worker": "w1"}, lambda job: job.worker_id == "w1"),
        ({"worker": "none"}, lambda _: False),
        ({"batch": BATCHES[0]}, lambda job: job.batch_id == BATCHES[0]),
        ({"schedule": "nightly"}, lambda job: job.schedule_name == "nightly"),
        ({"created_from": middle}, lambda job: job.created_at >= middle),
        ({"created_to": middle}, lambda job: job.created_at < middle),
        ({"finished_to": middle}, lambda job: job.finished_at is not None and job.finished_at < middle),
        ({"ids": tuple(job.id for job in jobs[::7])}, lambda job: job in jobs[::7]),
        ({"payload": ((("user", "id"), ("7",)),)}, lambda job: user(job, "id") in (7, "7")),
        (
            {"payload": ((("user", "id"), ("70", "7")), (("user", "vip"), ("true",)))},
            lambda job: user(job, "vip") is True,
        ),
        ({"payload": ((("user", "1"), ("a b",)),)}, lambda job: job.payload is not None and "a b" in job.payload),
        ({"payload": ((("user",), ("7",)),)}, lambda _: False),
        ({"text": "Mai"}, lambda job: job.type == "mail"),
        ({"text": "such file"}, lambda job: "such FILE" in (job.error or "")),
        ({"text": "100%"}, lambda job: "100%" in (job.error or "")),
        ({"text": str(some.id)[:-2].upper()}, lambda job: str(job.id).startswith(str(some.id)[:-2])),
        ({"text": str(some.id)}, lambda job: job.id == some.id),
    ]


async def walked(stores: Stores, where: JobFilter, *, size: int) -> list[UUID]:
    """Follow the cursor to the end."""
    seen: list[UUID] = []
    after: Position | None = None
    for _ in range(1_000):
        jobs, after = await stores.reader.page(where, size=size, after=after)
        assert len(jobs) <= size
        seen += [job.id for job in jobs]
        if after is None:
            return seen
    raise AssertionError(f"no end of {where}")


@pytest.mark.parametrize("look", [7, 10_000])
async def test_every_filter_finds_each_job_once_in_order(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    monkeypatch.setattr(reads, "LOOKED_AT", look)
    monkeypatch.setattr(reads, "SAMPLE", min(look, 5))
    rng = random.Random(look)
    jobs = await filled(stores, rng)
    parts = conditions(jobs)
    chosen = [[part] for part in parts] + [rng.sample(parts, rng.choice((2, 2, 3))) for _ in range(40)]
    for few in [[], *chosen]:
        where = JobFilter()
        for fields, _ in few:
            where = replace(where, **fields)
        # Of two parts for one field the later one counts.
        last = {name: check for fields, check in few for name in fields}
        expected = [job.id for job in jobs if all(check(job) for check in last.values())]
        assert await walked(stores, where, size=rng.choice((1, 3, 10, 100))) == expected, where
        after = Position(NOON + timedelta(seconds=8), UUID(int=rng.getrandbits(128)))
        behind = [
            job.id for job in jobs if job.id in expected and (job.created_at, job.id) < (after.created_at, after.id)
        ]
        positions = await stores.reader.positions(where, size=JOBS, after=after)
        assert [position.id for position in positions] == behind, where
        assert [each.id for each in await stores.reader.positions(where, size=4)] == expected[:4], where
        count = await stores.reader.count(where)
        assert not count.exact or count.jobs == len(expected), where
        if look > JOBS:
            jobs_by_number, _ = await stores.reader.page(where, size=5, offset=5)
            assert [job.id for job in jobs_by_number] == expected[5:10], where


async def test_what_lists_go_by_follows_the_jobs(stores: Stores) -> None:
    kept, gone = new_job(type="kept", tags=("a", "b", "a")), new_job(type="gone", tags=("a",))
    await stores.add(kept, gone)
    await stores.database.fetch("DELETE FROM jobs WHERE id = $1", gone.id)
    await stores.database.fetch(
        "UPDATE jobs SET created_at = created_at - interval '1 h', tags = '{b,c}', type = 'other' WHERE id = $1",
        kept.id,
    )
    stored = await stores.get(kept)
    listed = await stores.database.fetch("SELECT id, created_at, type FROM job_listing")
    assert [tuple(row) for row in listed] == [(kept.id, stored.created_at, "other")]
    tags = await stores.database.fetch("SELECT tag, created_at, id FROM job_tags ORDER BY tag")
    assert [tuple(row) for row in tags] == [(tag, stored.created_at, kept.id) for tag in ("b", "c")]


async def test_a_way_is_walked_by_its_index_in_the_lists_order(stores: Stores) -> None:
    await stores.database.fetch(
        "INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, worker_id, started_at,"
        " finished_at, created_at, tags, payload)"
        " SELECT new_job_id(), 'calculate', 'LOW', 'completed', 0, 1, 'w' || n % 3, now(),"
        " now(), now() - n * interval '1 s', '{blue}', '{}' FROM generate_series(1, 10000) AS n"
    )
    await stores.database.fetch("ANALYZE jobs, job_listing, job_tags")
    for where, index in (
        (JobFilter(), "job_listing_pkey"),
        (JobFilter(created_to=datetime.now(UTC)), "job_listing_pkey"),
        (JobFilter(statuses=(Status.COMPLETED,)), "jobs_status"),
        (JobFilter(statuses=(Status.FAILED, Status.COMPLETED)), "jobs_status"),
        (JobFilter(types=("calculate", "nothing")), "job_listing_type"),
        (JobFilter(priorities=(Priority.CRITICAL,)), "job_listing_priority"),
        (JobFilter(schedule="nightly"), "job_listing_schedule"),
        (JobFilter(tags=("blue",)), "job_tags_pkey"),
        (JobFilter(worker="w1"), "jobs_worker"),
        (JobFilter(fingerprint="f1"), "jobs_alike"),
    ):
        text, arguments = compiled(ways(where)[0].entries(where, most=21))
        plan = "\n".join(row[0] for row in await stores.database.fetch(f"EXPLAIN {text}", *arguments))
        assert index in plan, plan
        assert "Sort  (" not in plan, plan
        assert "Seq Scan" not in plan, plan


async def test_the_steps_of_a_job_find_it_by_its_id_under_a_backlog(stores: Stores) -> None:
    await stores.database.fetch("ANALYZE jobs")
    await stores.database.fetch(
        "INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, payload)"
        " SELECT new_job_id(), 'calculate', 'LOW', 'pending', 0, 1, '{}' FROM generate_series(1, 20000)"
    )
    ids = [row["id"] for row in await stores.database.fetch("SELECT id FROM jobs LIMIT 200")]
    ones, workers, nones = [1] * 200, ["w1"] * 200, [None] * 200
    ends = (["completed"] * 200, nones, nones, [True] * 200, nones)
    for statistics in ("stale", "fresh"):
        if statistics == "fresh":
            await stores.database.fetch("ANALYZE jobs")
        for statement, arguments in (
            (job_store.SQL["mark_queued"], (ids, ones)),
            (job_store.SQL["cancel"], (ids,)),
            (job_store.SQL["retry"], (ids, None, 0)),
            (reports.SQL["take"], (ids, ones, workers, ids, ones, workers, *ends, True)),
            (reports.SQL["progress"], (ids, ones, workers, nones, nones)),
            (reports.SQL["release"], (ids, ones, workers)),
        ):
            plan = "\n".join(row[0] for row in await stores.database.fetch(f"EXPLAIN {statement}", *arguments))
            assert set(re.findall(r"(?:using|on) (jobs_\w+)", plan)) <= {"jobs_pkey", "jobs_unique"}, (statistics, plan)


def test_the_start_of_an_id_is_told_from_other_text() -> None:
    assert id_range("019A0D12") == (
        UUID("019a0d12-0000-0000-0000-000000000000"),
        UUID("019a0d12-ffff-ffff-ffff-ffffffffffff"),
    )
    whole = new_job_id()
    assert id_range(str(whole)) == (whole, whole)
    for text in ("019a0d1", "019a0d1g", "019a0d12c", "019a-0d12", "019a0d12-cafe-7-", f"{whole}0", "deadbeef dead"):
        assert id_range(text) is None, text
