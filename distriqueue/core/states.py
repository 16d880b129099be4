"""A job's states and the only ways between them, as data.

The store's transition trigger is generated from `TRANSITIONS`, and so is `docs/states.md`; a change
here is a change of schema and needs a migration.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where a job is in its life; the value is the wire's and the store's spelling."""

    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @classmethod
    def parse(cls, text: str) -> "Status":
        """Read a status in any case; ValueError names what is allowed."""
        try:
            return cls(text.lower())
        except ValueError:
            raise ValueError(f"status must be one of {', '.join(cls)}, not {text!r}") from None


@dataclass(frozen=True, slots=True)
class Transition:
    """One legal step and what causes it."""

    source: Status
    target: Status
    cause: str


S = Status
TRANSITIONS: Final = (
    Transition(S.SCHEDULED, S.PENDING, "due time reached"),
    Transition(S.SCHEDULED, S.BLOCKED, "due, and waits for a concurrency slot"),
    Transition(S.SCHEDULED, S.TIMEOUT, "expired before it started"),
    Transition(S.SCHEDULED, S.CANCELLED, "client cancels"),
    Transition(S.BLOCKED, S.PENDING, "last parent completed or slot freed"),
    Transition(S.BLOCKED, S.SCHEDULED, "last parent completed before the due time"),
    Transition(S.BLOCKED, S.TIMEOUT, "expired before it started"),
    Transition(S.BLOCKED, S.CANCELLED, "parent failed or client cancels"),
    Transition(S.PENDING, S.QUEUED, "held by the broker, and not claimed at once"),
    Transition(S.PENDING, S.RUNNING, "claim overtook the confirm"),
    Transition(S.PENDING, S.TIMEOUT, "expired before it started"),
    Transition(S.PENDING, S.CANCELLED, "client cancels"),
    Transition(S.QUEUED, S.RUNNING, "claim accepted"),
    Transition(S.QUEUED, S.PENDING, "message lost, or put back by a pause or a rate limit"),
    Transition(S.QUEUED, S.TIMEOUT, "expired before it started"),
    Transition(S.QUEUED, S.CANCELLED, "client cancels"),
    Transition(S.RUNNING, S.COMPLETED, "worker reports success"),
    Transition(S.RUNNING, S.FAILED, "no retry left"),
    Transition(S.RUNNING, S.TIMEOUT, "overdue, no retry left"),
    Transition(S.RUNNING, S.RETRYING, "attempt failed, overdue or lost"),
    Transition(S.RUNNING, S.CANCELLED, "worker honours a cancel"),
    Transition(S.RUNNING, S.PENDING, "worker drains: the attempt is not charged"),
    Transition(S.RETRYING, S.PENDING, "backoff is over"),
    Transition(S.RETRYING, S.BLOCKED, "backoff is over, and waits for a concurrency slot"),
    Transition(S.RETRYING, S.CANCELLED, "client cancels"),
    Transition(S.FAILED, S.PENDING, "client retries"),
    Transition(S.TIMEOUT, S.PENDING, "client retries"),
    Transition(S.CANCELLED, S.PENDING, "client retries"),
    Transition(S.FAILED, S.BLOCKED, "client retries, and it has to wait"),
    Transition(S.TIMEOUT, S.BLOCKED, "client retries, and it has to wait"),
    Transition(S.CANCELLED, S.BLOCKED, "client retries, and it has to wait"),
)
del S

LEGAL: Final = frozenset((t.source, t.target) for t in TRANSITIONS)
TERMINAL: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.TIMEOUT, Status.CANCELLED})
CLAIMABLE: Final = frozenset(t.source for t in TRANSITIONS if t.target is Status.RUNNING)
RETRIABLE: Final = frozenset(t.source for t in TRANSITIONS if t.cause == "client retries")
INITIAL: Final = frozenset({Status.SCHEDULED, Status.BLOCKED, Status.PENDING})


def is_legal(source: Status, target: Status) -> bool:
    """Tell whether a job may go from `source` to `target`."""
    return (source, target) in LEGAL


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {status}" for status in Status if status in INITIAL]
    lines += [f"    {t.source} --> {t.target}: {t.cause}" for t in TRANSITIONS]
    lines += [f"    {status} --> [*]" for status in Status if status in TERMINAL]
    return "\n".join(lines)
