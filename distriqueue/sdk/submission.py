"""What a caller says of a new job, and its way to the JSON of `POST /api/jobs`; checked here as far as that is sure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias, TypedDict, Unpack
from uuid import UUID

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.handler import handler_of, payload_of
from distriqueue.core.job import Priority
from distriqueue.core.retry import RetryPolicy
from distriqueue.core.states import Status


class Identified(Protocol):
    """A job's handle, as far as another job's options go."""

    @property
    def id(self) -> UUID:
        """The job."""


JobType: TypeAlias = str | Callable[..., Any]
"""A job type, or the function that is registered for it."""
JobRef: TypeAlias = Identified | UUID | str
"""A job, by its handle or its id."""
Payload: TypeAlias = object
"""A mapping, a pydantic model or a dataclass: what becomes an object in JSON."""

EMPTY: Final[Mapping[str, Any]] = {}
_NAMED_ERRORS: Final = 5


class SharedOptions(TypedDict, total=False):
    """What can be said of a job, or of many alike: the fields of `POST /api/jobs` in snake_case; times in seconds."""

    priority: Priority | Literal["critical", "high", "medium", "low"]
    max_retries: int
    retry_policy: RetryPolicy | Mapping[str, Any] | Literal["fixed", "exponential"]
    execution_timeout: float
    schedule_at: datetime
    expires_at: datetime
    queue_timeout: float
    parent_job_id: JobRef
    depends_on: Iterable[JobRef]
    on_parent_failure: Literal["cancel", "run"]
    concurrency_key: str
    concurrency_limit: int
    callback_url: str
    tags: Iterable[str]
    metadata: Mapping[str, Any]


class JobOptions(SharedOptions, total=False):
    """All that can be said of a job besides its type and payload."""

    unique_key: str
    on_conflict: Literal["reject", "return_existing"]
    id: UUID | str


class BatchOptions(TypedDict, total=False):
    """What can be said of jobs that are submitted together."""

    batch_name: str
    sequential: bool
    stop_on_failure: bool
    max_concurrent: int
    callback_url: str
    partial: bool


class JobFilters(TypedDict, total=False):
    """What jobs are chosen by: all conditions hold, and of several values one."""

    status: Status | str | Iterable[Status | str]
    priority: Priority | str | Iterable[Priority | str]
    type: str | Iterable[str]
    tag: str | Iterable[str]
    worker: str
    batch: UUID | str
    schedule: str
    created_from: datetime
    created_to: datetime
    q: str


class NewJob:
    """A job to submit, for `submit_many`: its type or handler, its payload and its options."""

    __slots__ = ("body",)

    def __init__(self, job: JobType, payload: Payload = EMPTY, **options: Unpack[JobOptions]) -> None:
        """Check it; InvalidRequest names what is wrong, TypeError an unknown option."""
        self.body: Final = job_body(job, payload, options)
        """As it is sent."""


def type_of(job: JobType) -> str:
    """Return the job type; TypeError when a function is no handler, or one of several types."""
    return job if isinstance(job, str) else handler_of(job).type


def job_body(job: JobType, payload: Payload, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's JSON object; InvalidRequest names what is wrong, TypeError an unknown option."""
    return {"type": type_of(job), "payload": payload_body(job, payload), **options_body(options)}


def payload_body(job: JobType, payload: Payload) -> dict[str, Any]:
    """Return the payload as sent, checked by its handler's model when there is one; InvalidRequest names the fields."""
    if isinstance(job, str):
        return _object(payload)
    handler = handler_of(job)
    try:
        return payload_of(handler, payload)
    except ValidationError as exc:
        errors: list[dict[str, object]] = [
            {"field": ".".join(("payload", *map(str, each["loc"]))), "message": each["msg"]} for each in exc.errors()
        ]
        said = "; ".join(f"{each['field']}: {each['message']}" for each in errors[:_NAMED_ERRORS])
        raise InvalidRequest(f"the payload is not what {handler.type!r} takes: {said}", errors=errors) from None


def options_body(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options' JSON members; what is None is left out. InvalidRequest, or TypeError for an unknown one."""
    unknown = options.keys() - JobOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"no option of a job: {', '.join(sorted(unknown))}")
    return {
        to_camel(name): _WRITTEN[name](value) if name in _WRITTEN else value
        for name, value in options.items()
        if value is not None
    }


def batch_body(jobs: Iterable[NewJob], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch's JSON object; TypeError for an unknown option."""
    unknown = options.keys() - BatchOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"no option of a batch: {', '.join(sorted(unknown))}")
    said = {to_camel(name): value for name, value in options.items() if value is not None}
    return {"jobs": [job.body for job in jobs], **said}


def filter_query(filters: Mapping[str, Any]) -> dict[str, object]:
    """Return the filters' query parameters; TypeError for an unknown one."""
    unknown = filters.keys() - JobFilters.__annotations__.keys()
    if unknown:
        raise TypeError(f"no filter of jobs: {', '.join(sorted(unknown))}")
    return {to_camel(name): _several(value) for name, value in filters.items()}


def id_of(job: JobRef) -> str:
    """Return a job's id as text; InvalidRequest when it is none."""
    found = job.id if not isinstance(job, UUID | str) else job
    try:
        return str(found if isinstance(found, UUID) else UUID(found))
    except ValueError:
        raise InvalidRequest(
            f"{found!r} is no job's id", errors=[{"field": "id", "message": "must be a UUID"}]
        ) from None


def _several(value: object) -> object:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _object(payload: Payload) -> dict[str, Any]:
    try:
        sent = to_jsonable_python(payload, by_alias=True)
    except (PydanticSerializationError, ValueError) as exc:
        raise _wrong("payload", f"is not JSON: {exc}") from exc
    if not isinstance(sent, dict):
        raise _wrong("payload", f"must be an object, not {type(payload).__name__}")
    return sent


def _priority(value: str) -> str:
    try:
        return Priority.parse(value).value
    except ValueError as exc:
        raise _wrong("priority", str(exc)) from None


def _policy(value: object) -> object:
    if isinstance(value, RetryPolicy):
        return {"type": "exponential", "base": value.base_s, "factor": value.factor, "cap": value.cap_s}
    return value


def _moment(field: str) -> Callable[[datetime], str]:
    def written(value: datetime) -> str:
        if value.tzinfo is None:
            raise _wrong(field, "must have a time zone: datetime(…, tzinfo=UTC), or .astimezone()")
        return value.isoformat()

    return written


def _jobs(value: Iterable[JobRef]) -> list[str]:
    if isinstance(value, str | UUID):
        raise _wrong("dependsOn", "must be several jobs, in a list")
    return [id_of(each) for each in value]


def _tags(value: Iterable[str]) -> list[str]:
    if isinstance(value, str):
        raise _wrong("tags", "must be several words, in a list")
    return list(value)


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", errors=[{"field": field, "message": message}])


_WRITTEN: Final[Mapping[str, Callable[[Any], object]]] = {
    "priority": _priority,
    "retry_policy": _policy,
    "schedule_at": _moment("scheduleAt"),
    "expires_at": _moment("expiresAt"),
    "parent_job_id": id_of,
    "depends_on": _jobs,
    "tags": _tags,
    "id": id_of,
}
"""How options are written that JSON has no word for, or that are easily got wrong."""
