"""What clients may ask of lists, streams and actions on many: query parameters, strict like bodies."""

import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.store.reads import JobFilter, Position
from gateway.api.problems import field_errors, invalid
from gateway.api.times import EARLIEST, LATEST, Time
from gateway.hub import EVERYTHING, EventFilter

M = TypeVar("M", bound=BaseModel)

MAX_PAGE: Final = 1_000
MAX_SIZE: Final = 100
MAX_VALUES: Final = 50


def _split(value: object) -> object:
    """Read `a,b` and repeated parameters alike."""
    if isinstance(value, list) and len(value) <= MAX_VALUES:  # more of them are wrong, whatever they hold
        return [part.strip() for item in value for part in str(item).split(",") if part.strip()]
    return value


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


StatusIn = Annotated[Status, BeforeValidator(lambda value: Status.parse(str(value)))]
PriorityIn = Annotated[Priority, BeforeValidator(lambda value: Priority.parse(str(value)))]
Text = Annotated[str, Field(max_length=200), AfterValidator(_no_nul)]
Cursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{32}$")]
"""24 bytes in base64, all of which mean some position."""
Texts = Annotated[list[Text], Field(max_length=MAX_VALUES), BeforeValidator(_split)]


InPayload = Annotated[str, Field(max_length=1_000, pattern=r"^[^.:\x00]+(\.[^.:\x00]+){0,9}:[^\x00]*$")]
"""`user.id:7`: names that lead into the payload, and the text of what is there."""


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


class JobConditions(_Query):
    """What jobs are chosen by."""

    status: Annotated[list[StatusIn], Field(max_length=MAX_VALUES), BeforeValidator(_split)] = Field(
        default=[], description="One or several, in any case."
    )
    priority: Annotated[list[PriorityIn], Field(max_length=MAX_VALUES), BeforeValidator(_split)] = Field(
        default=[], description="One or several, in any case."
    )
    type: Texts = Field(default=[], description="One or several.")
    tag: Texts = Field(default=[], description="Jobs that have all of these.")
    worker: Text | None = Field(default=None, description="The worker of the newest attempt.")
    batch: UUID | None = None
    schedule: Text | None = Field(default=None, description="Made by this cron schedule.")
    created_from: Time | None = Field(default=None, description="Created at or after.")
    created_to: Time | None = Field(default=None, description="Created before.")
    payload: Annotated[list[InPayload], Field(max_length=MAX_VALUES)] = Field(
        default=[],
        description="`user.id:7`: the text of what is in the payload there; of several with one path, any. Looked for"
        " as `q` is.",
    )
    q: Text | None = Field(
        default=None,
        description="The start of an id (8 hex digits at least), or text in the type or error. Text is looked for in"
        " ten thousand jobs a page: one may be short, or empty, and have a `nextCursor` all the same.",
    )

    def filter(self) -> JobFilter:
        """What the list is narrowed to."""
        return JobFilter(
            statuses=tuple(self.status),
            priorities=tuple(self.priority),
            types=tuple(self.type),
            tags=tuple(self.tag),
            worker=self.worker,
            batch=self.batch,
            schedule=self.schedule,
            created_from=self.created_from,
            created_to=self.created_to,
            payload=_in_payload(self.payload),
            text=self.q or None,
        )


def _in_payload(terms: Sequence[str]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    found: dict[tuple[str, ...], list[str]] = {}
    for term in terms:
        path, _, value = term.partition(":")
        found.setdefault(tuple(path.split(".")), []).append(value)
    return tuple((path, tuple(values)) for path, values in found.items())


class JobSelection(JobConditions):
    """The same in a JSON body: nothing is split at commas; an empty list, which could mean all or none, is refused."""

    status: Annotated[list[StatusIn], Field(min_length=1, max_length=50)] = Field(
        default=[], description="One or several, in any case."
    )
    priority: Annotated[list[PriorityIn], Field(min_length=1, max_length=50)] = Field(
        default=[], description="One or several, in any case."
    )
    type: Annotated[list[Text], Field(min_length=1, max_length=50)] = Field(default=[], description="One or several.")
    tag: Annotated[list[Text], Field(min_length=1, max_length=50)] = Field(
        default=[], description="Jobs that have all of these."
    )
    payload: Annotated[list[InPayload], Field(min_length=1, max_length=50)] = Field(
        default=[], description="`user.id:7`: the text of what is in the payload there; of several with one path, any."
    )


class JobListQuery(JobConditions):
    """Filters and page of `GET /jobs`."""

    page: int = Field(default=0, ge=0, le=MAX_PAGE, description="0-based; far pages go by `cursor`.")
    size: int = Field(default=20, ge=1, le=MAX_SIZE)
    cursor: Cursor | None = Field(default=None, description="`nextCursor` of the page before.")

    def offset(self) -> int:
        """How many jobs to skip."""
        return self.page * self.size


class StreamQuery(_Query):
    """Filters of `GET /jobs/stream`."""

    job_id: UUID | None = None
    batch: UUID | None = None
    type: Texts = []
    status: Annotated[list[StatusIn], Field(max_length=MAX_VALUES), BeforeValidator(_split)] = []
    last_event_id: Text | None = Field(default=None, description="As the header, for clients that cannot set one.")

    def filter(self) -> EventFilter:
        """Which events are wanted."""
        wanted = EventFilter(self.job_id, self.batch, frozenset(self.type), frozenset(self.status))
        return EVERYTHING if wanted == EVERYTHING else wanted


class SpanQuery(_Query):
    """A span of time."""

    start: Time | None = Field(default=None, alias="from", description="At or after.")
    end: Time | None = Field(default=None, alias="to", description="Before.")


class TimelineQuery(_Query):
    """The page of `GET /jobs/{id}/events`."""

    after: int = Field(default=0, ge=0, lt=2**63, description="Only events with a larger `id`.")


_LATEST_MICROS: Final = (LATEST - EARLIEST) // timedelta(microseconds=1)


def checked(model: type[M], body: object) -> M:
    """Check a body; InvalidRequest names each wrong field."""
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        raise invalid(field_errors(exc.errors(include_url=False))) from None


def write_cursor(position: Position) -> str:
    """Spell a position as an opaque word."""
    micros = (position.created_at - EARLIEST) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(micros.to_bytes(8) + position.id.bytes).decode().rstrip("=")


def read_cursor(text: str) -> Position:
    """Read what `write_cursor` spelt."""
    raw = base64.urlsafe_b64decode(text)
    at = EARLIEST + timedelta(microseconds=min(int.from_bytes(raw[:8]), _LATEST_MICROS))
    return Position(at, UUID(bytes=raw[8:]))
