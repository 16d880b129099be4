"""What a gateway says of jobs, batches and events, as it was said: immutable, snake_case, times aware and in UTC.

Fields that a newer gateway adds are ignored.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from distriqueue.core.job import Priority
from distriqueue.core.states import TERMINAL, Status
from distriqueue.sdk.errors import UnexpectedAnswer


class _Said(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True, extra="ignore"
    )


class ErrorSnapshot(_Said):
    """Why an attempt did not complete; `type` is the exception's class, or a name of ours."""

    message: str
    type: str | None = None
    traceback: str | None = None


class JobSnapshot(_Said):
    """A job at one moment; in a list, a `payload` or `result` of more than some kilobytes is None, and in `omitted`.

    Times in seconds (`execution_timeout`), milliseconds (`…_ms`), progress in percent.
    """

    id: UUID
    type: str
    status: Status
    priority: Priority
    attempt: int
    max_retries: int = 0
    failures: int = 0
    losses: int = 0
    execution_timeout: float | None = None
    progress: float | None = None
    progress_message: str | None = None
    worker_id: str | None = None
    cancel_requested: bool = False
    tags: tuple[str, ...] = ()
    batch_id: UUID | None = None
    schedule_name: str | None = None
    scheduled_for: datetime | None = None
    depends_on: tuple[UUID, ...] = ()
    unique_key: str | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    callback_url: str | None = None
    retry_policy: Mapping[str, Any] | None = None
    payload: Any = None
    metadata: Mapping[str, Any] | None = None
    result: Any = None
    error: ErrorSnapshot | None = None
    omitted: tuple[str, ...] = ()
    created_at: datetime
    schedule_at: datetime | None = None
    expires_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    queue_time_ms: float | None = None
    execution_time_ms: float | None = None
    total_duration_ms: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, however."""
        return self.status in TERMINAL


class JobEvent(_Said):
    """One transition of a job, or a step of its progress; ids grow in the order in which things were stored."""

    id: int
    job_id: UUID
    status: Status
    type: str
    priority: Priority
    attempt: int
    worker_id: str | None = None
    progress: float | None = None
    progress_message: str | None = None
    batch_id: UUID | None = None
    timestamp: datetime

    @property
    def is_end(self) -> bool:
        """Whether the job has ended with it."""
        return self.status in TERMINAL


class BatchSnapshot(_Said):
    """A batch at one moment; `progress` is the share of its jobs that have ended, in percent."""

    id: UUID
    name: str | None = None
    total_jobs: int
    by_status: Mapping[str, int]
    finished: bool
    progress: float
    sequential: bool = False
    stop_on_failure: bool = False
    stopped: bool = False
    max_concurrent: int | None = None
    callback_url: str | None = None
    created_at: datetime
    finished_at: datetime | None = None


class BatchAnswer(_Said):
    """What became of a batch when it was submitted."""

    batch_id: UUID | None
    job_ids: tuple[UUID | None, ...]
    errors: tuple[Mapping[str, Any], ...] = ()


class PageAnswer(_Said):
    """A page of jobs, newest first."""

    content: tuple[JobSnapshot, ...]
    total_elements: int
    total_is_estimate: bool = False
    next_cursor: str | None = None


SaidT = TypeVar("SaidT", bound=_Said)


def read(model: type[SaidT], body: object) -> SaidT:
    """Read an answer; UnexpectedAnswer when it is not of that kind."""
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in exc.errors()[:3])
        raise UnexpectedAnswer(f"the gateway's answer is no {model.__name__}: {wrong}", status=200) from None
