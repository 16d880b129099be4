"""What a filter means, and how the API is asked for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.filterlang.terms import quoted
from distriqueue.filterlang.times import Moment, rfc3339, spelt_age
from distriqueue.filterlang.words import Field


@dataclass(frozen=True, slots=True)
class Filter:
    """What jobs are chosen by, as `GET /jobs` understands it; one with nothing set is false, and chooses all."""

    statuses: tuple[Status, ...] = ()
    priorities: tuple[Priority, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    worker: str | None = None
    batch: UUID | None = None
    schedule: str | None = None
    since: tuple[Moment, ...] = ()
    """Created at or after all of these."""
    until: tuple[Moment, ...] = ()
    """Created before all of these."""
    payload: tuple[tuple[str, str], ...] = ()
    """Paths and the text of what is there; of several with one path, any."""
    text: str | None = None

    def __bool__(self) -> bool:
        """Tell whether it narrows anything."""
        return self != NOTHING

    def query(self, now: datetime) -> dict[str, str | list[str]]:
        """Return the query parameters of `GET /jobs`; a list is a parameter several times.

        InvalidRequest for a type or tag with a comma, which separates values there.
        """
        for name, values in ((Field.TYPE, self.types), (Field.TAG, self.tags)):
            for value in values:
                if "," in value:
                    raise InvalidRequest(f"lists cannot be filtered by a {name} with a comma in it: {value!r}")
        return self.selection(now)

    def selection(self, now: datetime) -> dict[str, str | list[str]]:
        """Return the object `filter` of `POST /jobs/actions`."""
        since = max((moment.resolved(now) for moment in self.since), default=None)
        until = min((moment.resolved(now) for moment in self.until), default=None)
        fields: dict[str, str | list[str] | None] = {
            "status": [status.value for status in self.statuses],
            "priority": [priority.value for priority in self.priorities],
            "type": list(self.types),
            "tag": list(self.tags),
            "worker": self.worker,
            "batch": None if self.batch is None else str(self.batch),
            "schedule": self.schedule,
            "createdFrom": None if since is None else rfc3339(since),
            "createdTo": None if until is None else rfc3339(until),
            "payload": [f"{path}:{value}" for path, value in self.payload],
            "q": self.text,
        }
        return {name: value for name, value in fields.items() if value}

    def __str__(self) -> str:
        """Return text that means this, in the order of the fields."""
        several: Mapping[Field, Sequence[str]] = {
            Field.STATUS: [status.value for status in self.statuses],
            Field.TYPE: self.types,
            Field.PRIORITY: [priority.value.lower() for priority in self.priorities],
            Field.TAG: self.tags,
        }
        single = {Field.WORKER: self.worker, Field.BATCH: self.batch, Field.SCHEDULE: self.schedule}
        words = [f"{field}:{','.join(map(quoted, values))}" for field, values in several.items() if values]
        words += [f"{field}:{quoted(str(value))}" for field, value in single.items() if value is not None]
        words += [f"{Field.CREATED}:{_spelt(moment, age='<', time='>=')}" for moment in self.since]
        words += [f"{Field.CREATED}:{_spelt(moment, age='>', time='<')}" for moment in self.until]
        paths = dict.fromkeys(path for path, _ in self.payload)
        for path in paths:
            values = ",".join(quoted(value) for each, value in self.payload if each == path)
            words.append(f"{Field.PAYLOAD}.{path}:{values}")
        return " ".join([*words, *([quoted(self.text)] if self.text else [])])


NOTHING: Final = Filter()


def _spelt(moment: Moment, *, age: str, time: str) -> str:
    """Spell a bound after the operator of an age, or of a time."""
    return f"{age}{spelt_age(moment.age_s)}" if moment.at is None else f"{time}{rfc3339(moment.at)}"
