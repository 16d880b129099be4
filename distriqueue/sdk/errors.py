"""What a client's calls raise, all under `distriqueue.core.errors.DistriQueueError`.

    DistriQueueError
    ├── (the core's tree)       what the gateway has answered, by the problem's `code`
    ├── Unavailable
    │   └── GatewayUnreachable  gateway_unreachable    no connection, or none that lasted
    ├── UnexpectedAnswer        unexpected_answer      what is no answer of a gateway's, or one that went wrong
    ├── JobNotCompleted         job_not_completed      how the job of a `result()` has ended otherwise
    │   ├── JobFailed           job_failed
    │   ├── JobTimedOut         job_timed_out
    │   └── JobCancelled        job_cancelled
    ├── EventsLost              events_lost            a stream cannot be resumed where it was left
    └── ResultTimeout           result_timeout         the wait is over, the job is not; a TimeoutError too

Each has a `message` for people and a `code` for programs.
"""

from typing import Any, Final
from uuid import UUID

import httpx
from pydantic_core import from_json

from distriqueue.core import errors as core
from distriqueue.core.errors import DistriQueueError, Overloaded, Unavailable

_KNOWN: Final[tuple[type[DistriQueueError], ...]] = (
    core.InvalidRequest,
    core.MalformedJson,
    core.UnsupportedMedia,
    core.IdempotencyKeyReused,
    core.Unauthorized,
    core.Forbidden,
    core.PayloadTooLarge,
    core.NotFound,
    core.Conflict,
    core.IdempotencyKeyInFlight,
    core.Overloaded,
    core.RateLimited,
    core.Unavailable,
    core.StoreUnavailable,
    core.BrokerUnavailable,
    core.Fenced,
)
_BY_CODE: Final = {error.code: error for error in _KNOWN}
_BY_STATUS: Final = {error.http_status: error for error in reversed(_KNOWN)}
"""For codes that are newer than this client: the first of each status, which is the most general."""
_BAD_GATEWAY: Final = frozenset({502, 503, 504})
_SHOWN_CHARS: Final = 200


class GatewayUnreachable(Unavailable):
    """No gateway answers at the address, or the connection broke and could not be had again in time."""

    code = "gateway_unreachable"


class UnexpectedAnswer(DistriQueueError):
    """The server made a mistake, or is no gateway; `status` is the answer's."""

    code = "unexpected_answer"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class JobNotCompleted(DistriQueueError):
    """The job has ended, and not by completing."""

    code = "job_not_completed"

    def __init__(
        self,
        job_id: UUID,
        job_type: str,
        verb: str,
        *,
        error: str | None = None,
        error_type: str | None = None,
        traceback: str | None = None,
    ) -> None:
        why = ": ".join(part for part in (error_type, error) if part)
        super().__init__(f"job {job_id} ({job_type}) {verb}{f': {why}' if why else ''}")
        self.job_id = job_id
        self.job_type = job_type
        self.error = error
        """What its newest attempt said of its end, if anything."""
        self.error_type = error_type
        """The class of what its handler raised, or a name of ours such as `invalid_payload`."""
        self.traceback = traceback
        """The handler's, on the worker."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be pickled, as process pools and parallel test runners do."""
        return (_unpickled, (type(self), self.message, self.__dict__))


class JobFailed(JobNotCompleted):
    """It failed, and no retry is left."""

    code = "job_failed"


class JobTimedOut(JobNotCompleted):
    """Its last attempt ran out of its time, or it was not started in time."""

    code = "job_timed_out"


class JobCancelled(JobNotCompleted):
    """It was cancelled, by somebody or because a job that it waited for has not completed."""

    code = "job_cancelled"


class EventsLost(DistriQueueError):
    """Events after the given id are no longer kept: read what you follow anew, and go on after `last_event_id`."""

    code = "events_lost"

    def __init__(self, message: str, *, last_event_id: int) -> None:
        super().__init__(message)
        self.last_event_id = last_event_id


class ResultTimeout(DistriQueueError, TimeoutError):
    """The job has not ended within the time that the caller would wait; it goes on."""

    code = "result_timeout"


def answered(response: httpx.Response, what: str, *, retry_after_s: float | None) -> DistriQueueError:
    """Return the error that an answer of 300 or more stands for; `what` names the call, for people."""
    problem = _problem(response)
    status = response.status_code
    if problem is None:
        said = f"{what} answered {status}: {response.text.strip()[:_SHOWN_CHARS] or 'nothing'}"
        if status in _BAD_GATEWAY:
            return Unavailable(said, retry_after_s=retry_after_s or 0.0)
        return UnexpectedAnswer(f"{said}; is a DistriQueue gateway at this address?", status=status)
    kind = _BY_CODE.get(problem["code"]) or _BY_STATUS.get(status)
    detail = str(problem.get("detail") or problem["code"])
    if kind is None:
        return UnexpectedAnswer(f"{what} answered {status} ({problem['code']}): {detail}", status=status)
    if issubclass(kind, Overloaded | Unavailable):
        return kind(detail, retry_after_s=1.0 if retry_after_s is None else retry_after_s)
    found = problem.get("errors")
    return kind(detail, errors=found if isinstance(found, list) else None)


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    """Read the answer's problem details (RFC 9457); None when it has none of ours."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        problem = from_json(response.content)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and isinstance(problem.get("code"), str) else None


def _unpickled(kind: type[JobNotCompleted], message: str, state: dict[str, Any]) -> JobNotCompleted:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error
