"""The Celery application, and as a program what submits to it."""

import os
from collections.abc import Sequence
from typing import Any, Final

from celery import Celery

from benchmarks.load.paced import submit_threads
from benchmarks.load.plan import Plan
from benchmarks.peers.celery import CALLERS, RESULTS
from benchmarks.peers.peer import DATABASE, RABBITMQ
from benchmarks.systems.marks import VARIABLE, MarkWriter


def _backend() -> str | None:
    match os.environ[RESULTS]:
        case "postgres":
            return os.environ[DATABASE].replace("postgresql://", "db+postgresql+psycopg2://")
        case "rpc":
            return "rpc://"
        case _:
            return None


app: Final[Any] = Celery("benchmark", broker=os.environ[RABBITMQ], backend=_backend())
app.conf.update(
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_ignore_result=os.environ[RESULTS] == "ignored",
    worker_prefetch_multiplier=32,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_pool_limit=CALLERS,
    broker_connection_retry_on_startup=True,
)
_marks: Final = MarkWriter() if VARIABLE in os.environ else None


def _add(a: int, b: int) -> int:
    assert _marks is not None
    return _marks.add(a, b)


add: Final[Any] = app.task(_add, name="add")


def _enqueue(numbers: Sequence[int]) -> None:
    for number in numbers:
        add.apply_async((number, 1), task_id=f"job:{number}")


if __name__ == "__main__":
    submit_threads(Plan.read(), _enqueue).tell()
