"""What a client may say of a new job, and its way from JSON to `NewJob`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
    model_validator,
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
from distriqueue.core.retry import DEFAULT_RETRY_POLICY
from distriqueue.store.jobs import NO_EXTRAS, Extras, NewJob
from gateway.api.problems import field_errors, invalid
from gateway.api.times import Time

RESERVED: Final = "distriqueue."
WEB_ADDRESS: Final = (
    r"^https?://[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?"
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}))?([/?][!-~]*)?$"
)
"""By a name or an IPv4 address; without a user name or password."""
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"


def _priority(value: object) -> object:
    return Priority.parse(value) if isinstance(value, str) else value


def _text_only(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be a string")
    return value


def _policy(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def not_reserved(type_: str) -> str:
    """Refuse the types that only DistriQueue itself makes: a webhook is signed with its secret."""
    if type_.startswith(RESERVED):
        raise ValueError(f"types that start with {RESERVED!r} are DistriQueue's own")
    return type_


def _whole(value: object) -> object:
    """Take 3.0 for 3, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


PriorityIn = Annotated[Priority, BeforeValidator(_priority)]
"""In any case."""
WHOLE: Final = BeforeValidator(_whole)
MaxRetries = Annotated[StrictInt, Field(ge=0, le=MAX_RETRIES_BOUND), BeforeValidator(_whole)]
"""Bounds before the validator: pydantic writes those after one as `ge` and `le` into the schema."""
Name = Annotated[StrictStr, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
Tag = Annotated[StrictStr, StringConstraints(min_length=1, max_length=100, pattern=PRINTABLE)]
JobUuid = Annotated[UUID, BeforeValidator(_text_only)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=MAX_EXECUTION_TIMEOUT_S, allow_inf_nan=False)]
CallbackUrl = Annotated[StrictStr, StringConstraints(max_length=2_000, pattern=WEB_ADDRESS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


class RetryPolicy(_Strict):
    """How long to wait before retry number n, from 0 on: `base × factorⁿ` seconds, at most `cap`."""

    type: Literal["fixed", "exponential"] = "exponential"
    base: Seconds = DEFAULT_RETRY_POLICY.base_s
    factor: Annotated[float, Field(strict=True, ge=1, le=100, allow_inf_nan=False)] = Field(
        default=DEFAULT_RETRY_POLICY.factor, description="Of `exponential`."
    )
    cap: Seconds = DEFAULT_RETRY_POLICY.cap_s
    jitter: StrictBool = Field(default=True, description="Times a draw from [½, 1).")

    def stored(self) -> str:
        """Return it as the store keeps it."""
        factor = 1.0 if self.type == "fixed" else self.factor
        return to_json({"base": self.base, "factor": factor, "cap": self.cap, "jitter": self.jitter}).decode()


class JobSubmission(_Strict):
    """A new job."""

    type: Annotated[Name, AfterValidator(not_reserved)] = Field(
        description="Which handler runs it.", examples=["calculate"]
    )
    priority: PriorityIn = Field(
        default=Priority.MEDIUM,
        validation_alias=AliasChoices("priority", "jobPriority"),
        description="Its lane, in any case; `jobPriority` is accepted too.",
    )
    payload: dict[str, Any] = Field(
        default_factory=dict, description="What the handler gets.", examples=[{"numbers": [1, 2, 3]}]
    )
    max_retries: MaxRetries = Field(
        default=DEFAULT_MAX_RETRIES, description="How often a failed attempt is tried again."
    )
    retry_policy: Annotated[RetryPolicy, BeforeValidator(_policy)] | None = Field(
        default=None, description="How long it waits before a retry; the name of a type will do."
    )
    execution_timeout: Seconds = Field(
        default=DEFAULT_EXECUTION_TIMEOUT_S, description="Seconds that one attempt may run."
    )
    schedule_at: Time | None = Field(default=None, description="Not before this time (RFC 3339 with an offset).")
    expires_at: Time | None = Field(default=None, description="Not started by this time, it ends as `timeout`.")
    queue_timeout: Seconds | None = Field(
        default=None, description="Not started so many seconds after it could have been, it ends as `timeout`."
    )
    parent_job_id: JobUuid | None = Field(default=None, description="As one of `dependsOn`.")
    depends_on: Annotated[tuple[JobUuid, ...], Field(max_length=1000)] = Field(
        default=(), description="Jobs that must have completed first."
    )
    on_parent_failure: Literal["cancel", "run"] = Field(
        default="cancel", description="What becomes of it when one of those does not complete."
    )
    unique_key: Name | None = Field(default=None, description="No two unfinished jobs have the same.")
    on_conflict: Literal["reject", "return_existing"] = Field(
        default="reject", description="When the unique key is taken: 409, or 200 and the job that has it."
    )
    concurrency_key: Name | None = Field(default=None, description="Jobs with the same one share its slots.")
    concurrency_limit: Annotated[StrictInt, Field(ge=1, le=1000), WHOLE] | None = Field(
        default=None, description="How many of them may run at once; 1 if not given."
    )
    callback_url: CallbackUrl | None = Field(default=None, description="Gets a signed webhook when the job has ended.")
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = Field(default=(), description="Labels to filter by.")
    metadata: dict[str, Any] | None = Field(default=None, description="Kept with the job, not given to the handler.")
    id: JobUuid | None = Field(default=None, description="Its id, if the client chooses it; 409 when it is taken.")

    @model_validator(mode="after")
    def _limit_has_a_key(self) -> Self:
        if self.concurrency_limit is not None and self.concurrency_key is None:
            raise ValueError("concurrencyLimit needs a concurrencyKey")
        return self

    def extras(self) -> Extras:
        """What few jobs have; NO_EXTRAS for most."""
        if self.model_fields_set.isdisjoint(_EXTRAS):
            return NO_EXTRAS
        parents = self.depends_on if self.parent_job_id is None else (*self.depends_on, self.parent_job_id)
        return Extras(
            retry_policy_json=None if self.retry_policy is None else self.retry_policy.stored(),
            expires_at=self.expires_at,
            queue_timeout_s=self.queue_timeout,
            unique_key=self.unique_key,
            on_conflict=self.on_conflict,
            concurrency_key=self.concurrency_key,
            concurrency_limit=None if self.concurrency_key is None else self.concurrency_limit or 1,
            callback_url=self.callback_url,
            parents=tuple(dict.fromkeys(parents)),
            run_anyway=self.on_parent_failure == "run",
        )


_EXTRAS: Final = frozenset(
    {
        "retry_policy",
        "expires_at",
        "queue_timeout",
        "parent_job_id",
        "depends_on",
        "unique_key",
        "concurrency_key",
        "callback_url",
    }
)


def read_submission(body: object, *, where: str = "", batch_id: UUID | None = None) -> tuple[NewJob, bool]:
    """Check one job; return it, and whether its client chose the id. InvalidRequest names each wrong field."""
    try:
        submission = JobSubmission.model_validate(body)
    except ValidationError as exc:
        raise invalid([_within(where, error) for error in field_errors(exc.errors(include_url=False))]) from None
    payload_json, metadata_json = storable(submission.payload, submission.metadata, where=where)
    job = NewJob(
        id=JobId(submission.id) if submission.id is not None else new_job_id(),
        type=submission.type,
        priority=submission.priority,
        payload=submission.payload,
        payload_json=payload_json,
        max_retries=submission.max_retries,
        execution_timeout_s=float(submission.execution_timeout),
        due_at=submission.schedule_at,
        batch_id=batch_id,
        tags=submission.tags,
        metadata_json=metadata_json,
        extras=submission.extras(),
    )
    if job.id in job.extras.parents:
        raise invalid([_within(where, {"field": "dependsOn", "message": "a job cannot wait for itself"})])
    return job, submission.id is not None


def storable(payload: object, metadata: object = None, *, where: str = "") -> tuple[str, str | None]:
    """Return both as JSON text; InvalidRequest names what JSON can say and Postgres cannot keep."""
    payload_json = to_json(payload, inf_nan_mode="constants").decode()
    metadata_json = None if metadata is None else to_json(metadata, inf_nan_mode="constants").decode()
    for name, text, value in (("payload", payload_json, payload), ("metadata", metadata_json, metadata)):
        if text is not None and ("\\u0000" in text or "Infinity" in text):
            wrong = [{"field": f"{name}{path}", "message": message} for path, message in _unstorable(value)]
            if wrong:
                raise invalid([_within(where, error) for error in wrong])
    return payload_json, metadata_json


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
