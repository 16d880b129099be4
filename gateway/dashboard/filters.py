"""The filter of the Jobs page: from its text to what the store is asked for, facets, and links that change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.filterlang import NOTHING, Filter, WrongFilter, parse
from distriqueue.store.reads import Count, JobFilter
from gateway.api.query import JobSelection, checked
from gateway.dashboard.desk import Ask

MOST_TYPES: Final = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter as it was written, and what it means; with `error`, it means nothing."""

    text: str
    filter: Filter
    error: WrongFilter | None = None

    @property
    def corrected(self) -> str | None:
        """The text with what is wrong in it replaced by what was probably meant."""
        if self.error is None or self.error.suggestion is None:
            return None
        return self.text[: self.error.start] + self.error.suggestion + self.text[self.error.end :]

    def where(self, now: datetime) -> JobFilter:
        """Return it for the store."""
        return checked(JobSelection, self.filter.selection(now)).filter()


@dataclass(frozen=True, slots=True)
class Facet:
    """One value of a field: how many jobs have it, and the address of the list that has it or is rid of it."""

    value: str
    jobs: Count | None
    href: str
    chosen: bool


def read(text: str) -> Asked:
    """Read a filter; a wrong one is told of, and chooses nothing."""
    try:
        return Asked(text, parse(text))
    except WrongFilter as exc:
        return Asked(text, NOTHING, exc)


def href(text: str) -> str:
    """Return the address of a list."""
    return f"/jobs?{urlencode({'q': text})}" if text else "/jobs"


async def facets(ask: Ask, asked: Asked) -> Mapping[str, Sequence[Facet]]:
    """Count the values of status, priority and type, each within the rest of the filter; most of them at no cost.

    Without a filter the statuses are in the figures. Counts are as the list's: exact while few, else estimates.
    """
    where = asked.where(ask.now)
    sample = ask.desk.sampler.latest
    types = _types(ask, asked.filter.types)
    statuses = {
        status.value: replace(asked.filter, statuses=_toggled(asked.filter.statuses, status)) for status in Status
    }
    found: dict[str, list[Facet]] = {"status": [], "priority": [], "type": []}
    rest = replace(where, statuses=())
    for status in Status:
        if rest == JobFilter() and sample is not None:
            count = Count(sample.figures.stored.get(status.value, 0), exact=True)
        else:
            count = await ask.parts.reader.count(replace(where, statuses=(status,)))
        found["status"].append(_facet(status.value, count, statuses[status.value], status in asked.filter.statuses))
    for priority in Priority:
        count = await ask.parts.reader.count(replace(where, priorities=(priority,)))
        other = replace(asked.filter, priorities=_toggled(asked.filter.priorities, priority))
        found["priority"].append(_facet(priority.value.lower(), count, other, priority in asked.filter.priorities))
    for type_ in types:
        count = await ask.parts.reader.count(replace(where, types=(type_,)))
        other = replace(asked.filter, types=_toggled(asked.filter.types, type_))
        found["type"].append(_facet(type_, count, other, type_ in asked.filter.types))
    return found


def _types(ask: Ask, chosen: Sequence[str]) -> list[str]:
    sample = ask.desk.sampler.latest
    tallies = {} if sample is None else sample.figures.by_type
    frequent = sorted(tallies, key=lambda name: (-tallies[name].jobs, name))[:MOST_TYPES]
    return list(dict.fromkeys([*chosen, *frequent]))


def _toggled(chosen: Sequence[Any], value: Any) -> tuple[Any, ...]:
    return tuple(each for each in chosen if each != value) if value in chosen else (*chosen, value)


def _facet(value: str, count: Count, other: Filter, chosen: bool) -> Facet:
    return Facet(value, count, href(str(other)), chosen)
