"""What a job's handle knows without asking, whichever client it belongs to; and how a job's end is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar
from uuid import UUID

from distriqueue.core.errors import DistriQueueError
from distriqueue.core.states import Status
from distriqueue.sdk.errors import JobCancelled, JobFailed, JobNotCompleted, JobTimedOut
from distriqueue.sdk.models import ErrorSnapshot, JobSnapshot, read

NOT_COMPLETED: Final[dict[Status, tuple[type[JobNotCompleted], str]]] = {
    Status.FAILED: (JobFailed, "failed"),
    Status.TIMEOUT: (JobTimedOut, "timed out"),
    Status.CANCELLED: (JobCancelled, "was cancelled"),
}


@dataclass(slots=True)
class Seen:
    """A job, and what was last seen of it; shared by the handles of both kinds."""

    id: UUID
    type: str
    snapshot: JobSnapshot | None = None
    is_whole: bool = True
    """Not, when a list has left out its payload or result."""


class JobHandle:
    """A job by its id, and what was last seen of it."""

    __slots__ = ("_seen",)

    def __init__(self, seen: Seen) -> None:
        self._seen: Final = seen

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.id}, {self.type!r}, {self.status.value if self.status else 'not seen yet'})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> UUID:
        """Which job it is."""
        return self._seen.id

    @property
    def type(self) -> str:
        """Its type."""
        return self._seen.type

    @property
    def snapshot(self) -> JobSnapshot | None:
        """All that was last seen of it; None for a job of a batch until it is looked at."""
        return self._seen.snapshot

    @property
    def status(self) -> Status | None:
        """Where it was when last seen; None before that."""
        return None if self.snapshot is None else self.snapshot.status

    @property
    def progress(self) -> float | None:
        """How far it was when last seen, in percent, if its handler tells."""
        return None if self.snapshot is None else self.snapshot.progress

    @property
    def error(self) -> ErrorSnapshot | None:
        """Why its newest attempt, when last seen, did not complete."""
        return None if self.snapshot is None else self.snapshot.error

    @property
    def is_finished(self) -> bool:
        """Whether it had ended, however, when last seen."""
        return self.snapshot is not None and self.snapshot.is_finished

    @property
    def has_outcome(self) -> bool:
        """Whether its end, with the result if there is one, is known without asking."""
        return self.is_finished and self._seen.is_whole

    def outcome(self) -> Any:
        """Return the result that was seen; JobFailed, JobTimedOut or JobCancelled. Only when `is_finished`."""
        if self.snapshot is None or not self.snapshot.is_finished:
            raise DistriQueueError(f"job {self.id} ({self.type}) had not ended when it was last seen")
        if self.snapshot.status is Status.COMPLETED:
            return self.snapshot.result
        raise not_completed(self.snapshot)

    def _saw(self, answer: object) -> Self:
        self._seen.snapshot = read(JobSnapshot, answer)
        self._seen.is_whole = True
        return self


JobT = TypeVar("JobT", bound=JobHandle)


@dataclass(frozen=True, slots=True)
class Page(Generic[JobT]):
    """A page of jobs, newest first; `total` is how many match in all."""

    jobs: tuple[JobT, ...]
    total: int
    total_is_estimate: bool
    next_cursor: str | None
    """Where the next page begins; None when there is none."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[JobT]):
    """Jobs that were submitted together."""

    id: UUID | None
    """None when none of them could be stored, which takes `partial`."""
    jobs: tuple[JobT | None, ...]
    """In the order in which they were given; None for what was wrong, which takes `partial`."""
    errors: tuple[Mapping[str, Any], ...]
    """With `partial`, what was wrong: `index`, `field`, `message`."""


def not_completed(job: JobSnapshot) -> JobNotCompleted:
    """Return the error that stands for how the job has ended."""
    kind, verb = NOT_COMPLETED[job.status]
    error = job.error
    return kind(
        job.id,
        job.type,
        verb,
        error=None if error is None else error.message,
        error_type=None if error is None else error.type,
        traceback=None if error is None else error.traceback,
    )
