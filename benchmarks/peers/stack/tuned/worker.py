"""The Celery application."""

import os
import threading
from typing import Any, Final

import psycopg2
from celery import Celery

from benchmarks.peers.peer import DATABASE, RABBITMQ
from benchmarks.systems.marks import MarkWriter

STARTED: Final = "UPDATE jobs SET status = 'running', started_at = clock_timestamp() WHERE id = %s"
FINISHED: Final = """
UPDATE jobs SET status = 'completed', finished_at = clock_timestamp(), result = jsonb_build_object('sum', %s::bigint)
 WHERE id = %s"""

app: Final[Any] = Celery("stack", broker=os.environ[RABBITMQ])
app.conf.update(
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=16,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
_marks: Final = MarkWriter()
_local: Final = threading.local()


def _cursor() -> Any:
    """Return the thread's own cursor."""
    if not hasattr(_local, "cursor"):
        connection = psycopg2.connect(os.environ[DATABASE])
        connection.autocommit = True
        _local.cursor = connection.cursor()
    return _local.cursor


def _run_job(job_id: str, a: int, b: int) -> None:
    cursor = _cursor()
    cursor.execute(STARTED, (job_id,))
    total = _marks.add(a, b)
    cursor.execute(FINISHED, (total, job_id))


run_job: Final[Any] = app.task(_run_job, name="run_job")
