"""How jobs look on the wire: documented by models, written by orjson from the store's rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.store.events import Event
from distriqueue.store.jobs import NewJob, Stored
from distriqueue.store.reads import Attempt, Job

OPTIONS: Final = orjson.OPT_UTC_Z


class View(BaseModel):
    """What an answer looks like: camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True)


class Links(View):
    """Where to go on from a job."""

    self: str
    events: str
    attempts: str
    logs: str
    explain: str
    webhooks: str
    cancel: str
    retry: str
    stream: str
    parents: list[str]
    """The jobs of `dependsOn`."""
    batch: str | None
    schedule: str | None
    """It may be gone by now."""


class ErrorView(View):
    """Why the newest attempt did not complete."""

    message: str
    type: str | None = None
    traceback: str | None = None


class RetryPolicyView(View):
    """How long to wait before retry number n, from 0 on: `base × factorⁿ` seconds, at most `cap`."""

    base: float
    factor: float
    cap: float
    jitter: bool
    """Times a draw from [½, 1)."""


class JobView(View):
    """A job."""

    id: UUID
    type: str
    status: Status
    priority: Priority
    attempt: int
    max_retries: int
    failures: int
    losses: int
    execution_timeout: float
    progress: float | None
    progress_message: str | None
    worker_id: str | None
    cancel_requested: bool
    tags: list[str]
    batch_id: UUID | None
    schedule_name: str | None
    scheduled_for: datetime | None
    depends_on: list[UUID]
    unique_key: str | None
    concurrency_key: str | None
    concurrency_limit: int | None
    callback_url: str | None
    retry_policy: RetryPolicyView | None
    payload: dict[str, Any] | None
    metadata: dict[str, Any] | None
    result: Any | None
    error: ErrorView | None
    omitted: list[Literal["payload", "result"]]
    """What a list has left out for its size, so that it is null here; read the job itself for it."""
    created_at: datetime
    schedule_at: datetime | None
    expires_at: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    queue_time_ms: float | None
    execution_time_ms: float | None
    total_duration_ms: float | None
    links: Links


class JobPage(View):
    """A page of jobs, newest first."""

    content: list[JobView]
    page: int
    size: int
    total_elements: int
    total_is_estimate: bool
    total_pages: int
    next_cursor: str | None


class BatchAnswer(View):
    """What became of a batch."""

    batch_id: UUID | None
    """None when none of the jobs could be stored."""
    batch_name: str | None
    total_jobs: int
    successful: int
    failed: int
    job_ids: list[UUID | None]
    errors: list[dict[str, Any]]
    submitted_at: datetime


class AttemptView(View):
    """One attempt of a job."""

    attempt: int
    worker_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    execution_time_ms: float | None
    outcome: str
    """Of the newest attempt it is the job's status; of others also `lost` and `released`."""
    error: ErrorView | None


class EventView(View):
    """One transition of a job, or a step of its progress."""

    id: int
    job_id: UUID
    status: Status
    type: str
    priority: Priority
    attempt: int
    worker_id: str | None
    progress: float | None
    progress_message: str | None
    timestamp: datetime


def dumps(value: object) -> bytes:
    """Return JSON; times as RFC 3339 UTC."""
    return orjson.dumps(value, default=_uuid, option=OPTIONS)


def _uuid(value: object) -> str:
    """Spell the driver's own UUIDs, which orjson does not take for the standard library's."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not for the wire")


def new_job(job: NewJob, stored: Stored) -> dict[str, Any]:
    """Show a job that was just stored, from what was sent: no read after the write."""
    extras = job.extras
    return {
        "id": stored.id,
        "type": job.type,
        "status": stored.status,
        "priority": job.priority,
        "attempt": 1,
        "maxRetries": job.max_retries,
        "failures": 0,
        "losses": 0,
        "executionTimeout": job.execution_timeout_s,
        "progress": None,
        "progressMessage": None,
        "workerId": None,
        "cancelRequested": False,
        "tags": job.tags,
        "batchId": job.batch_id,
        "scheduleName": None,
        "scheduledFor": None,
        "dependsOn": extras.parents,
        "uniqueKey": extras.unique_key,
        "concurrencyKey": extras.concurrency_key,
        "concurrencyLimit": extras.concurrency_limit,
        "callbackUrl": extras.callback_url,
        "retryPolicy": raw(extras.retry_policy_json),
        "payload": raw(job.payload_json),
        "metadata": raw(job.metadata_json),
        "result": None,
        "error": None,
        "omitted": (),
        "createdAt": stored.created_at,
        "scheduleAt": job.due_at,
        "expiresAt": expires_at(job, stored),
        "queuedAt": None,
        "startedAt": None,
        "finishedAt": None,
        "queueTimeMs": None,
        "executionTimeMs": None,
        "totalDurationMs": None,
        "links": _links(stored.id, extras.parents, job.batch_id),
    }


def expires_at(job: NewJob, stored: Stored) -> datetime | None:
    """Return when a new job expires unless it starts, as the store reckons it."""
    expires, queue_timeout_s = job.extras.expires_at, job.extras.queue_timeout_s
    if queue_timeout_s is None:
        return expires
    ready_at = stored.created_at if job.due_at is None else max(job.due_at, stored.created_at)
    by_queue = ready_at + timedelta(seconds=queue_timeout_s)
    return by_queue if expires is None else min(expires, by_queue)


def job_view(job: Job) -> dict[str, Any]:
    """Show a stored job."""
    return {
        "id": job.id,
        "type": job.type,
        "status": job.status,
        "priority": job.priority,
        "attempt": job.attempt,
        "maxRetries": job.max_retries,
        "failures": job.failures,
        "losses": job.losses,
        "executionTimeout": job.execution_timeout_s,
        "progress": job.progress,
        "progressMessage": job.progress_message,
        "workerId": job.worker_id,
        "cancelRequested": job.cancel_requested,
        "tags": job.tags,
        "batchId": job.batch_id,
        "scheduleName": job.schedule_name,
        "scheduledFor": job.schedule_fire_at,
        "dependsOn": job.depends_on,
        "uniqueKey": job.unique_key,
        "concurrencyKey": job.concurrency_key,
        "concurrencyLimit": job.concurrency_limit,
        "callbackUrl": job.callback_url,
        "retryPolicy": raw(job.retry_policy),
        "payload": raw(job.payload),
        "metadata": raw(job.metadata),
        "result": raw(job.result),
        "error": raw(job.error),
        "omitted": job.omitted,
        "createdAt": job.created_at,
        "scheduleAt": job.due_at,
        "expiresAt": job.expires_at,
        "queuedAt": job.queued_at,
        "startedAt": job.started_at,
        "finishedAt": job.finished_at,
        "queueTimeMs": _ms(job.ready_at, job.started_at),
        "executionTimeMs": _ms(job.started_at, job.finished_at),
        "totalDurationMs": _ms(job.created_at, job.finished_at),
        "links": _links(job.id, job.depends_on, job.batch_id, job.schedule_name),
    }


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    """Show one attempt."""
    return {
        "attempt": attempt.attempt,
        "workerId": attempt.worker_id,
        "startedAt": attempt.started_at,
        "finishedAt": attempt.finished_at,
        "executionTimeMs": _ms(attempt.started_at, attempt.finished_at),
        "outcome": attempt.outcome,
        "error": raw(attempt.error),
    }


def event_view(event: Event) -> dict[str, Any]:
    """Show one event."""
    return {
        "id": event.seq,
        "jobId": event.job_id,
        "status": event.status,
        "type": event.type,
        "priority": event.priority,
        "attempt": event.attempt,
        "workerId": event.worker_id,
        "progress": event.progress,
        "progressMessage": event.message,
        "timestamp": event.at,
    }


def raw(text: str | None) -> orjson.Fragment | None:
    """Put JSON text into an answer as it is."""
    return None if text is None else orjson.Fragment(text)


def _ms(start: datetime | None, end: datetime | None) -> float | None:
    if start is None or end is None or end < start:
        return None
    return round((end - start).total_seconds() * 1000, 3)


def _links(job_id: UUID, parents: Sequence[UUID], batch_id: UUID | None, schedule: str | None = None) -> dict[str, Any]:
    home = f"/api/jobs/{job_id}"
    return {
        "self": home,
        "events": f"{home}/events",
        "attempts": f"{home}/attempts",
        "logs": f"{home}/logs",
        "explain": f"{home}/explain",
        "webhooks": f"{home}/webhooks",
        "cancel": f"{home}/cancel",
        "retry": f"{home}/retry",
        "stream": f"/api/jobs/stream?jobId={job_id}",
        "parents": [f"/api/jobs/{parent}" for parent in parents],
        "batch": None if batch_id is None else f"/api/batches/{batch_id}",
        "schedule": None if schedule is None else f"/api/schedules/{quote(schedule, safe='')}",
    }
