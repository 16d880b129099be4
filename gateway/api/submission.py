"""What a client may say of a new job, and its way from JSON to `NewJob`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, to_json

from distriqueue.core.job import (
    DEFAULT_EXECUTION_TIMEOUT_S,
    DEFAULT_MAX_RETRIES,
    MAX_EXECUTION_TIMEOUT_S,
    MAX_RETRIES_BOUND,
    JobId,
    Priority,
    new_job_id,
)
from distriqueue.store.jobs import NewJob
from gateway.api.problems import field_errors, invalid

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"


def _priority(value: object) -> object:
    return Priority.parse(value) if isinstance(value, str) else value


def _text_only(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be a string")
    return value


Name = Annotated[StrictStr, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
Tag = Annotated[StrictStr, StringConstraints(min_length=1, max_length=100, pattern=PRINTABLE)]


class JobSubmission(BaseModel):
    """A new job."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True, title="JobSubmission")

    type: Name = Field(description="Which handler runs it.", examples=["calculate"])
    priority: Annotated[Priority, BeforeValidator(_priority)] = Field(
        default=Priority.MEDIUM,
        validation_alias=AliasChoices("priority", "jobPriority"),
        description="Its lane, in any case; `jobPriority` is accepted too.",
    )
    payload: dict[str, Any] = Field(
        default={}, description="What the handler gets.", examples=[{"numbers": [1, 2, 3, 4, 5]}]
    )
    max_retries: Annotated[StrictInt, Field(ge=0, le=MAX_RETRIES_BOUND)] = Field(
        default=DEFAULT_MAX_RETRIES, description="How often a failed attempt is tried again."
    )
    execution_timeout: Annotated[float, Field(strict=True, gt=0, le=MAX_EXECUTION_TIMEOUT_S)] = Field(
        default=DEFAULT_EXECUTION_TIMEOUT_S, description="Seconds that one attempt may run."
    )
    schedule_at: Annotated[AwareDatetime, BeforeValidator(_text_only)] | None = Field(
        default=None, description="Not before this time (RFC 3339 with an offset)."
    )
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = Field(default=(), description="Labels to filter by.")
    metadata: dict[str, Any] | None = Field(default=None, description="Kept with the job, not given to the handler.")
    id: Annotated[UUID, BeforeValidator(_text_only)] | None = Field(
        default=None, description="The job's id, if the client chooses it; 409 when it is taken."
    )


class BatchSubmission(BaseModel):
    """Jobs that are stored together or not at all."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True, title="BatchSubmission")

    jobs: list[Any] = Field(description="The jobs, each as for `POST /jobs`.")
    partial: StrictBool = Field(default=False, description="Store the good ones although others are wrong.")


def read_submission(body: object, *, where: str = "", batch_id: UUID | None = None) -> tuple[NewJob, bool]:
    """Check one job; return it, and whether its client chose the id. InvalidRequest names each wrong field."""
    try:
        submission = JobSubmission.model_validate(body)
    except ValidationError as exc:
        raise invalid([_within(where, error) for error in field_errors(exc.errors(include_url=False))]) from None
    payload_json = to_json(submission.payload, inf_nan_mode="constants").decode()
    metadata_json = None
    if submission.metadata is not None:
        metadata_json = to_json(submission.metadata, inf_nan_mode="constants").decode()
    for name, text, value in (
        ("payload", payload_json, submission.payload),
        ("metadata", metadata_json, submission.metadata),
    ):
        if text is not None and ("\\u0000" in text or "Infinity" in text):
            wrong = [{"field": f"{name}{path}", "message": message} for path, message in _unstorable(value)]
            if wrong:
                raise invalid([_within(where, error) for error in wrong])
    job = NewJob(
        id=JobId(submission.id) if submission.id is not None else new_job_id(),
        type=submission.type,
        priority=submission.priority,
        payload=submission.payload,
        payload_json=payload_json,
        max_retries=submission.max_retries,
        execution_timeout_s=float(submission.execution_timeout),
        due_at=submission.schedule_at and submission.schedule_at.astimezone(UTC),
        batch_id=batch_id,
        tags=submission.tags,
        metadata_json=metadata_json,
    )
    return job, submission.id is not None


def read_batch(body: object) -> BatchSubmission:
    """Check a batch's own fields; a bare array is a batch of its items."""
    if isinstance(body, list):
        return BatchSubmission(jobs=body)
    try:
        return BatchSubmission.model_validate(body)
    except ValidationError as exc:
        raise invalid(field_errors(exc.errors(include_url=False))) from None


def _within(where: str, error: Mapping[str, object]) -> Mapping[str, object]:
    return {**error, "field": f"{where}.{error['field']}"} if where else error


def _unstorable(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Find what JSON can say and Postgres cannot keep as text or number; only for documents that look suspicious."""
    match value:
        case str():
            if "\0" in value:
                yield path, "a NUL character cannot be stored"
        case float():
            if value in (float("inf"), float("-inf")):
                yield path, "the number is out of range"
        case dict():
            for key, item in value.items():
                yield from _unstorable(key, f"{path}.{str(key)[:40]!r}")
                yield from _unstorable(item, f"{path}.{str(key)[:40]}")
        case list() | tuple():
            yield from _unstorable_items(value, path)


def _unstorable_items(items: Sequence[object], path: str) -> Iterator[tuple[str, str]]:
    for index, item in enumerate(items):
        yield from _unstorable(item, f"{path}.{index}")
