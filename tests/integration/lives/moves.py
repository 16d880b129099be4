"""What may be done to jobs, as data: drawn without a look at the store, and made concrete by whoever carries it out.

A job is named by a number: the machine takes it modulo how many there are that fit. So a move means something at any
time, and what is drawn never depends on who won a race.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from hypothesis import strategies as st

from distriqueue.core.job import Priority
from distriqueue.core.messages import ReportStatus

WORKERS: Final = ("w1", "w2", "w3")
TYPES: Final = ("calculate", "convert")
KEYS: Final = ("a", "b")
PRIORITIES: Final = (Priority.MEDIUM, Priority.LOW, Priority.CRITICAL)
PICK: Final = st.integers(0, 40)
PICKS: Final = st.lists(PICK, min_size=1, max_size=5).map(tuple)


@dataclass(frozen=True, slots=True)
class JobWish:
    """A job with any of what a job can have."""

    type: str
    priority: Priority
    max_retries: int
    later: bool
    key: str | None
    limit: int
    unique: str | None
    existing: bool
    """On a conflict of the unique key, take what is there."""
    parents: tuple[int, ...]
    siblings: tuple[int, ...]
    """Parents in the same submission."""
    anyway: bool
    expires: Literal["at", "queue"] | None
    callback: bool


@dataclass(frozen=True, slots=True)
class SubmissionWish:
    """Jobs that come together, perhaps as a batch that is followed."""

    jobs: tuple[JobWish, ...]
    backwards: bool
    """Children come before their parents."""
    is_batch: bool
    stop: bool
    callback: bool
    sequential: bool
    max_concurrent: int | None


@dataclass(frozen=True, slots=True)
class Submit:
    """Requests that a gateway stores in one commit."""

    wishes: tuple[SubmissionWish, ...]


@dataclass(frozen=True, slots=True)
class ReportWish:
    """What a worker says; `off`: how far its attempt is from the newest one; `stranger`: it may be another worker's."""

    say: Literal["claim", "progress", "end", "run", "late", "again"]
    pick: int
    end: ReportStatus
    retryable: bool
    worker: int
    stranger: bool
    off: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Reports that a gateway applies in one commit."""

    wishes: tuple[ReportWish, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """A client cancels."""

    picks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """A client retries, perhaps some now and some later."""

    picks: tuple[int, ...]
    per_s: float | None


Name: TypeAlias = Literal["promote", "expire", "lose", "overrun", "follow_up", "admit", "queued", "take_back"]


@dataclass(frozen=True, slots=True)
class Lead:
    """A duty finds something to do, for time has passed: for the picked jobs, or on a worker."""

    duty: Name
    picks: tuple[int, ...]
    limit: int


Move: TypeAlias = Submit | Tell | Cancel | Retry | Lead

_rarely: Final = st.sampled_from((False, False, False, True))
JOB: Final = st.builds(
    JobWish,
    type=st.sampled_from(TYPES),
    priority=st.sampled_from(PRIORITIES),
    max_retries=st.integers(0, 2),
    later=_rarely,
    key=st.sampled_from((None, None, *KEYS)),
    limit=st.integers(1, 3),
    unique=st.sampled_from((None, None, None, "u", "v")),
    existing=st.booleans(),
    parents=st.one_of(st.just(()), st.lists(PICK, max_size=3).map(tuple)),
    siblings=st.one_of(st.just(()), st.lists(PICK, max_size=2).map(tuple)),
    anyway=_rarely,
    expires=st.sampled_from((None, None, None, "at", "queue")),
    callback=_rarely,
)
SUBMISSION: Final = st.builds(
    SubmissionWish,
    jobs=st.lists(JOB, min_size=1, max_size=4).map(tuple),
    backwards=st.booleans(),
    is_batch=st.booleans(),
    stop=st.booleans(),
    callback=st.booleans(),
    sequential=_rarely,
    max_concurrent=st.sampled_from((None, None, None, 1, 2)),
)
SUBMIT: Final = st.builds(Submit, st.lists(SUBMISSION, min_size=1, max_size=2).map(tuple))
ENDS: Final = (
    ReportStatus.COMPLETED,
    ReportStatus.FAILED,
    ReportStatus.COMPLETED,
    ReportStatus.FAILED,
    ReportStatus.TIMEOUT,
    ReportStatus.CANCELLED,
    ReportStatus.RELEASED,
)
REPORT: Final = st.builds(
    ReportWish,
    say=st.sampled_from(("run", "claim", "end", "end", "late", "again", "progress")),
    pick=PICK,
    end=st.sampled_from(ENDS),
    retryable=st.booleans(),
    worker=st.integers(0, len(WORKERS) - 1),
    stranger=_rarely,
    off=st.sampled_from((0, 0, 0, 0, 0, -1, 1)),
)
TELL: Final = st.builds(Tell, st.lists(REPORT, min_size=1, max_size=1).map(tuple))
TELL_MANY: Final = st.builds(Tell, st.lists(REPORT, min_size=2, max_size=8).map(tuple))
CANCEL: Final = st.builds(Cancel, PICKS)
RETRY: Final = st.builds(Retry, PICKS, st.sampled_from((None, None, 0.01)))
LEAD: Final = st.builds(
    Lead,
    st.sampled_from(("promote", "expire", "lose", "overrun", "follow_up", "admit", "queued", "queued", "take_back")),
    PICKS,
    st.sampled_from((100, 100, 1)),
)
RIVAL: Final = st.builds(
    JobWish,
    type=st.just(TYPES[0]),
    priority=st.just(PRIORITIES[0]),
    max_retries=st.just(0),
    later=_rarely,
    key=st.just(KEYS[0]),
    limit=st.integers(1, 2),
    unique=st.sampled_from((None, "u")),
    existing=st.booleans(),
    parents=st.just(()),
    siblings=st.just(()),
    anyway=st.just(False),
    expires=st.none(),
    callback=st.just(False),
).map(lambda job: Submit((SubmissionWish((job,), False, False, False, False, False, None),)))
ANY: Final[st.SearchStrategy[Move]] = st.one_of(SUBMIT, TELL, TELL_MANY, CANCEL, RETRY, LEAD)
LAG: Final = st.integers(0, 6)
"""For how many round trips the second one of two waits."""
