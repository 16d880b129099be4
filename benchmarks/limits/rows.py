"""`python -m benchmarks.limits.rows ROWS URL`: insert rows like a job's from `unnest`, 200 a commit."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import uvloop

from distriqueue.core.job import new_job_id

BATCH: Final = 200
CONNECTIONS: Final = 2
TABLE: Final = """
CREATE TABLE rows (
    id uuid PRIMARY KEY, type text NOT NULL, priority text NOT NULL, status text NOT NULL, attempt integer NOT NULL,
    created_at timestamptz NOT NULL, payload json NOT NULL, result json, finished_at timestamptz);
CREATE INDEX rows_created ON rows (created_at, id);
CREATE INDEX rows_open ON rows (created_at) WHERE finished_at IS NULL;"""
INSERT: Final = """
INSERT INTO rows (id, type, priority, status, attempt, created_at, payload)
SELECT id, 'add', 'MEDIUM', 'pending', 1, created_at, payload
  FROM unnest($1::uuid[], $2::timestamptz[], $3::json[]) AS given (id, created_at, payload)"""


async def main() -> None:
    """Run from the command line."""
    rows, url = int(sys.argv[1]), sys.argv[2]
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, command_timeout=60) as pool:
        await pool.execute(TABLE)
        now = datetime.now(UTC)
        batches: Any = iter(
            [
                ([new_job_id() for _ in range(BATCH)], [now] * BATCH, ['{"a":1,"b":1}'] * BATCH)
                for _ in range(0, rows, BATCH)
            ]
        )

        async def insert() -> None:
            for batch in batches:
                await pool.execute(INSERT, *batch)

        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(insert())
        print(json.dumps({"insert": -(-rows // BATCH) * BATCH / (time.monotonic() - started)}))


if __name__ == "__main__":
    uvloop.run(main())
