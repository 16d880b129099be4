"""The Celery application."""

import os
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from celery import Celery

from benchmarks.peers.peer import RABBITMQ
from benchmarks.peers.stack.plain.models import Job, SessionLocal
from benchmarks.systems.marks import MarkWriter

app: Final[Any] = Celery("stack", broker=os.environ[RABBITMQ])
app.conf.broker_connection_retry_on_startup = True
_marks: Final = MarkWriter()


def _run_job(job_id: str) -> None:
    with SessionLocal() as session:
        job = session.get_one(Job, uuid.UUID(job_id))
        job.status, job.started_at = "running", datetime.now(UTC)
        session.commit()
        total = _marks.add(job.a, job.b)
        job.status, job.result, job.finished_at = "completed", {"sum": total}, datetime.now(UTC)
        session.commit()


run_job: Final[Any] = app.task(_run_job, name="run_job")
