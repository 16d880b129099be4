"""What the parts say to each other: dispatches over the broker, reports and heartbeats over HTTP.

All of it is versioned JSON. A reader ignores fields that it does not know, so that a newer sender may
add some; a dispatch of another major version is refused by `Dispatch.decode`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, from_json, to_json

from distriqueue.core.job import JobId, Priority
from distriqueue.core.states import Status

DISPATCH_VERSION: Final = 1
DISPATCH_PACK: Final = 16
"""Most dispatches in one message, unless the setting says otherwise."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An identifier from outside: one line, no control characters."""


def _number(value: object) -> object:
    if isinstance(value, str | bool):
        raise PydanticCustomError("number_type", "must be a number")
    return value


_NUMBER: Final = BeforeValidator(_number)
"""A number that is written as one; pydantic would read text as well."""

MAX_LOG_LINES: Final = 1_000
"""Of one attempt."""
MAX_LOG_FIELDS_BYTES: Final = 8_000
MAX_CHECKPOINT_BYTES: Final = 65_536


def _at_most(most: int) -> AfterValidator:
    def check(value: Any) -> Any:
        size = len(to_json(value)) if value is not None else 0
        if size > most:
            raise PydanticCustomError("too_large", "must be at most {most} bytes of JSON", {"most": most})
        return value

    return AfterValidator(check)


class Wire(BaseModel):
    """A message over HTTP: camelCase on the wire, snake_case accepted too, unknown fields ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True, extra="ignore"
    )


class UnreadableDispatch(ValueError):
    """The message is not a dispatch of a version that we read; it belongs in the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """ "Job J, attempt N is ready", with what a worker needs to run it. Whether it may is decided by the claim."""

    job_id: JobId
    attempt: int
    type: str
    priority: Priority
    payload: dict[str, Any]
    execution_timeout_s: float
    trace: str | None = None
    """The `traceparent` of the job's submission, if that is traced."""

    def encode(self) -> bytes:
        """Return one JSON object in UTF-8, on one line."""
        fields: dict[str, Any] = {
            "v": DISPATCH_VERSION,
            "jobId": self.job_id,
            "attempt": self.attempt,
            "type": self.type,
            "priority": self.priority.value,
            "executionTimeout": self.execution_timeout_s,
            "payload": self.payload,
        }
        if self.trace is not None:
            fields["traceparent"] = self.trace
        return to_json(fields)

    @classmethod
    def decode(cls, body: bytes) -> "Dispatch":
        """Read what `encode` wrote; UnreadableDispatch says what is wrong with it."""
        try:
            fields = from_json(body)
            if fields["v"] != DISPATCH_VERSION:
                raise UnreadableDispatch(f"dispatch version {fields['v']!r}, this worker reads {DISPATCH_VERSION}")
            payload = fields["payload"]
            if not isinstance(payload, dict):
                raise UnreadableDispatch("the payload is not an object")
            trace = fields.get("traceparent")
            return cls(
                job_id=JobId(UUID(fields["jobId"])),
                attempt=int(fields["attempt"]),
                type=str(fields["type"]),
                priority=Priority(fields["priority"]),
                payload=payload,
                execution_timeout_s=float(fields["executionTimeout"]),
                trace=trace if isinstance(trace, str) else None,
            )
        except UnreadableDispatch:
            raise
        except KeyError as exc:
            raise UnreadableDispatch(f"field {exc} is missing") from exc
        except (ValueError, TypeError, AttributeError) as exc:
            raise UnreadableDispatch(str(exc)) from exc


class ReportStatus(StrEnum):
    """What a worker can say of an attempt."""

    RUNNING = "running"
    """The claim; with `progress`, and once claimed, how far it is."""
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RELEASED = "released"
    """Given back by a draining worker: runs elsewhere, not charged as a try."""


class JobError(Wire):
    """Why an attempt did not complete."""

    message: str
    type: str | None = None
    traceback: str | None = None


class LogLine(Wire):
    """What a handler wrote to its job's log."""

    n: Annotated[int, Field(ge=1, le=MAX_LOG_LINES), _NUMBER]
    """Counts the lines of the attempt: one that is sent again is the same line."""
    at: AwareDatetime
    """By the worker's clock."""
    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    message: Annotated[str, Field(max_length=2_000)]
    fields: Annotated[dict[str, Any], _at_most(MAX_LOG_FIELDS_BYTES)] | None = None


class Report(Wire):
    """What a worker says of one attempt: `POST /api/jobs/status` takes one or a list."""

    job_id: UUID
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1), _NUMBER]
    status: ReportStatus
    worker_id: Name
    result: Any = None
    error_message: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    retryable: StrictBool = True
    """False: the attempt is the last, whatever retries are left."""
    retry_after: Annotated[float, Field(ge=0, le=366 * 86400.0), _NUMBER] | None = None
    """Seconds to wait before the retry, instead of the policy's backoff."""
    progress: Annotated[float, Field(ge=0, le=100), _NUMBER] | None = None
    progress_message: Annotated[str, Field(max_length=500)] | None = None
    """What the handler said of it; with `progress` only."""
    logs: Annotated[tuple[LogLine, ...], Field(max_length=MAX_LOG_LINES)] = ()
    """Lines of the job's log that were not reported before."""
    checkpoint: Annotated[Any, _at_most(MAX_CHECKPOINT_BYTES)] = None
    """JSON from which the job's next attempt can go on, in place of an earlier one. With `running` and without
    `progress`, logs or a checkpoint make a report that is no claim."""
    timestamp: Any = None
    """The worker's own clock: nobody looks at it, the store uses its own."""


class Answer(StrEnum):
    """What the gateway says to a report."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """A claim that may not run; `reason` says why. Drop the dispatch."""
    STALE = "stale"
    """The attempt is no longer this worker's; forget it."""


class Parent(Wire):
    """How a job that this one waited for has ended."""

    job_id: UUID
    type: str
    status: Status
    result: Any = None
    error: JobError | None = None
    omitted: bool = False
    """Its result is too large to come with the claim: read it from the gateway."""


class ReportAnswer(Wire):
    """The gateway's word on one report, in the order of the reports."""

    job_id: UUID
    attempt: int
    answer: Answer
    reason: str | None = None
    parents: list[Parent] = []
    """With an accepted claim: the jobs that this one has waited for, in the order in which it named them."""
    checkpoint: Any = None
    """With an accepted claim: the last one that an earlier attempt of the job has reported."""


class Heartbeat(Wire):
    """A worker's sign of life, each second, or every other while idle: `POST /api/workers/heartbeat` of any node."""

    worker_id: Name
    worker_type: Name = "python"
    capacity: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    current_load: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    types: Annotated[list[Name], Field(max_length=1000)] = []
    version: Name | None = None
    memory_bytes: Annotated[int, Field(ge=0, le=2**62)] | None = None
    """Resident memory of the worker and its child processes."""
    stopping: bool = False
    """The worker drains: it takes no new job."""
    stopped: bool = False
    """Its last word: nothing of its runs any more."""


class HeartbeatAnswer(Wire):
    """What the orchestrator asks of the worker in return."""

    status: Literal["acknowledged"] = "acknowledged"
    cancel: list[UUID] = []
    """Jobs of this worker to stop; each is to be reported `cancelled`."""
    drain: bool = False
    paused: list[Priority] = []
    """Lanes not to take from."""
