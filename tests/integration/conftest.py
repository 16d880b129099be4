"""A database with its stores, and jobs to put into it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic_core import to_json

from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Answer, Report
from distriqueue.settings import StoreSettings
from distriqueue.store.database import Database
from distriqueue.store.events import EventStore
from distriqueue.store.jobs import NO_EXTRAS, Extras, JobStore, NewJob
from distriqueue.store.reads import Job, JobReader
from distriqueue.store.reports import ReportStore
from distriqueue.store.submissions import SubmissionStore


def new_job(
    *,
    type: str = "calculate",  # noqa: A002
    priority: Priority = Priority.MEDIUM,
    payload: dict[str, Any] | None = None,
    max_retries: int = 3,
    due_at: datetime | None = None,
    tags: tuple[str, ...] = (),
    batch_id: UUID | None = None,
    extras: Extras = NO_EXTRAS,
) -> NewJob:
    payload = payload or {}
    return NewJob(
        id=new_job_id(),
        type=type,
        priority=priority,
        payload=payload,
        payload_json=to_json(payload).decode(),
        max_retries=max_retries,
        execution_timeout_s=300.0,
        due_at=due_at,
        tags=tags,
        batch_id=batch_id,
        extras=extras,
    )


@dataclass(frozen=True)
class Stores:
    """Everything over one fresh database."""

    database: Database
    jobs: JobStore
    submissions: SubmissionStore
    reports: ReportStore
    reader: JobReader
    events: EventStore

    async def add(self, *jobs: NewJob) -> None:
        await self.jobs.insert(jobs)

    async def report(
        self, job: NewJob, status: str, *, attempt: int = 1, worker: str = "w1", **fields: Any
    ) -> tuple[Answer, str | None]:
        report = Report.model_validate(
            {"job_id": job.id, "attempt": attempt, "status": status, "worker_id": worker} | fields
        )
        answer = (await self.reports.apply([report])).answers[0]
        return answer.answer, answer.reason

    async def get(self, job: NewJob) -> Job:
        return await self.reader.get(job.id)

    async def timeline(self, job: NewJob) -> list[str]:
        return [event.status for event in await self.events.of_job(job.id)]


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[Stores]:
    """Stores over a fresh database with the jobs' tables."""
    settings = StoreSettings.load(database_url=database_url, store_timeout=10.0)
    async with Database.open(settings, application="test") as database:
        yield Stores(
            database,
            JobStore(database),
            SubmissionStore(database),
            ReportStore(database),
            JobReader(database),
            EventStore(database),
        )
