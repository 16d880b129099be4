"""The Taskiq broker and task, and as a program what submits to it."""

import os
from collections.abc import Sequence
from typing import Any, Final

import uvloop
from taskiq_aio_pika import AioPikaBroker

from benchmarks.load.paced import submit_async
from benchmarks.load.plan import Plan, Submitted
from benchmarks.peers.peer import RABBITMQ
from benchmarks.peers.taskiq import PREFETCH
from benchmarks.systems.marks import MarkWriter

broker: Final[Any] = AioPikaBroker(os.environ[RABBITMQ], qos=PREFETCH)
_marks: Final = MarkWriter()


async def _add(a: int, b: int) -> int:
    return _marks.add(a, b)


add: Final[Any] = broker.register_task(_add, task_name="add")


async def _submit(plan: Plan) -> Submitted:
    await broker.startup()
    try:
        return await submit_async(plan, _enqueue)
    finally:
        await broker.shutdown()


async def _enqueue(numbers: Sequence[int]) -> None:
    for number in numbers:
        await add.kiq(number, 1)


if __name__ == "__main__":
    uvloop.run(_submit(Plan.read())).tell()
