"""The store refuses what distriqueue/core/states.py and core/retry.py do not allow."""

from itertools import product

import asyncpg
import pytest

from distriqueue.core.retry import DEFAULT_RETRY_POLICY
from distriqueue.core.states import TERMINAL, Status, is_legal
from tests.integration.conftest import Stores, new_job

PUT = """
    UPDATE jobs SET status = $2, worker_id = 'w', started_at = now(), due_at = now(),
           finished_at = CASE WHEN $2 = ANY ($3::text[]) THEN now() END WHERE id = $1"""


async def test_the_trigger_allows_exactly_the_table(stores: Stores) -> None:
    async with stores.database.connection() as connection:
        for source, target in product(Status, Status):
            if source is target:
                continue
            job = new_job()
            await stores.add(job)
            await connection.execute("SET session_replication_role = replica")  # puts the job where the step begins
            await connection.execute(PUT, job.id, source.value, list(TERMINAL))
            await connection.execute("SET session_replication_role = origin")
            if is_legal(source, target):
                await connection.execute(PUT, job.id, target.value, list(TERMINAL))
            else:
                with pytest.raises(asyncpg.PostgresError, match=f"may not go from {source} to {target}"):
                    await connection.execute(PUT, job.id, target.value, list(TERMINAL))


async def test_an_illegal_step_undoes_the_whole_statement(stores: Stores) -> None:
    one, other = new_job(), new_job()
    await stores.add(one, other)
    await stores.report(one, "running")
    with pytest.raises(asyncpg.PostgresError, match="may not go from running to queued"):
        await stores.database.fetch("UPDATE jobs SET status = 'queued' WHERE id IN ($1, $2)", one.id, other.id)
    assert [await stores.timeline(job) for job in (one, other)] == [["pending", "running"], ["pending"]]


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("finished_at = now()", "finished_means_terminal"),
        ("status = 'cancelled'", "finished_means_terminal"),
        ("status = 'running', started_at = now()", "running_has_a_worker"),
        ("result = '1'", "only_completed_has_a_result"),
        ("status = 'unheard-of'", "jobs_status_check|may not go"),
        ("progress = 101", "jobs_progress_check"),
        ("attempt = 0", "jobs_attempt_check"),
    ],
)
async def test_a_row_cannot_contradict_itself(stores: Stores, change: str, constraint: str) -> None:
    job = new_job()
    await stores.add(job)
    with pytest.raises(asyncpg.PostgresError, match=constraint):
        await stores.database.fetch(f"UPDATE jobs SET {change} WHERE id = $1", job.id)


async def test_the_stores_backoff_is_the_policys(stores: Stores) -> None:
    for failures in (0, 1, 5, 9, 50, 5000):
        rows = await stores.database.fetch(
            "SELECT extract(epoch FROM retry_delay($1, NULL))::float8 FROM generate_series(1, 200)", failures
        )
        waits = [row[0] for row in rows]
        full_s = min(DEFAULT_RETRY_POLICY.base_s * 2.0 ** min(failures, 60), DEFAULT_RETRY_POLICY.cap_s)
        assert full_s / 2 <= min(waits) < full_s * 0.6
        assert full_s * 0.9 < max(waits) <= full_s


async def test_a_jobs_own_policy_counts_instead(stores: Stores) -> None:
    policy = '{"base": 3, "factor": 4, "cap": 40, "jitter": false}'
    rows = await stores.database.fetch(
        "SELECT extract(epoch FROM retry_delay(n, $1))::float8 FROM generate_series(0, 3) AS n", policy
    )
    assert [row[0] for row in rows] == [3, 12, 40, 40]
