"""The Procrastinate application, and as a program what installs its tables or submits to it."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import uvloop
from procrastinate import App, PsycopgConnector

from benchmarks.load.paced import submit_async
from benchmarks.load.plan import Plan, Submitted
from benchmarks.peers.peer import DATABASE
from benchmarks.systems.marks import MarkWriter

app: Final[Any] = App(connector=PsycopgConnector(conninfo=os.environ[DATABASE], min_size=4, max_size=16))
_marks: Final = MarkWriter()


async def _add(a: int, b: int) -> int:
    return _marks.add(a, b)


add: Final[Any] = app.task(_add, name="add")


async def _enqueue(numbers: Sequence[int]) -> None:
    if len(numbers) == 1:
        await add.defer_async(a=numbers[0], b=1)
    else:
        await add.batch_defer_async(*({"a": number, "b": 1} for number in numbers))


async def _install() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def _submit(plan: Plan) -> Submitted:
    async with app.open_async():
        return await submit_async(plan, _enqueue)


if __name__ == "__main__":
    if sys.argv[1:] == ["install"]:
        uvloop.run(_install())
    else:
        uvloop.run(_submit(Plan.read())).tell()
