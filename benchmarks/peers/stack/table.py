"""`python -m benchmarks.peers.stack.table`: make the table of the stack."""

import asyncio
import os
from typing import Final

import asyncpg

from benchmarks.peers.peer import DATABASE

TABLE: Final = """
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    a bigint NOT NULL,
    b bigint NOT NULL,
    status text NOT NULL,
    result jsonb,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX jobs_status ON jobs (status, created_at);
"""


async def make() -> None:
    """Make the table."""
    connection = await asyncpg.connect(os.environ[DATABASE])
    try:
        await connection.execute(TABLE)
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(make())
