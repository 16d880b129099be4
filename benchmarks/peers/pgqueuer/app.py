"""The PgQueuer worker, and as a program what installs its tables, works, or submits."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.adapters.persistence.queries import Queries
from pydantic_core import from_json, to_json

from benchmarks.load.paced import submit_async
from benchmarks.load.plan import Plan, Submitted
from benchmarks.peers.peer import DATABASE
from benchmarks.peers.pgqueuer import BATCH_SIZE
from benchmarks.systems.marks import MarkWriter

POOL: Final = 10


async def _install() -> None:
    async with asyncpg.create_pool(os.environ[DATABASE], min_size=1, max_size=1) as pool:
        await Queries(AsyncpgPoolDriver(pool)).install()


async def _work() -> None:
    marks = MarkWriter()

    async def add(job: Any) -> None:
        given = from_json(job.payload)
        marks.add(given["a"], given["b"])

    async with asyncpg.create_pool(os.environ[DATABASE], min_size=POOL, max_size=POOL) as pool:
        queuer: Any = PgQueuer(AsyncpgPoolDriver(pool))
        queuer.entrypoint("add")(add)
        await queuer.run(batch_size=BATCH_SIZE)


async def _submit(plan: Plan) -> Submitted:
    async with asyncpg.create_pool(os.environ[DATABASE], min_size=POOL, max_size=POOL) as pool:
        queries: Any = Queries(AsyncpgPoolDriver(pool))

        async def enqueue(numbers: Sequence[int]) -> None:
            payloads = [to_json({"a": number, "b": 1}) for number in numbers]
            if len(numbers) == 1:
                await queries.enqueue("add", payloads[0])
            else:
                await queries.enqueue(["add"] * len(numbers), payloads, [0] * len(numbers))

        return await submit_async(plan, enqueue)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["install"]:
            uvloop.run(_install())
        case ["work"]:
            uvloop.run(_work())
        case _:
            uvloop.run(_submit(Plan.read())).tell()
