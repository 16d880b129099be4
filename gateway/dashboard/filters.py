"""The filter of the Jobs page: from its text to what the store is asked for, facets, and links that change it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from distriqueue.core.errors import DistriQueueError
from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.filterlang import NOTHING, Filter, WrongFilter, parse
from distriqueue.store.reads import Count, JobFilter
from gateway.api.query import JobSelection, checked
from gateway.dashboard.desk import Ask

MOST_TYPES: Final = 8
AT_ONCE: Final = 3
"""Counts under way: the gateway's pool of connections is for others, too."""


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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A value whose jobs are to be counted, where that is not known."""

    name: str
    value: str
    where: JobFilter
    other: Filter
    chosen: bool
    known: Count | None = None


async def facets(ask: Ask, asked: Asked) -> Mapping[str, Sequence[Facet]]:
    """Count the values of status, priority and type, each within the rest of the filter.

    Without a filter the statuses are in the figures. Counts are as the list's: exact while few, else estimates.
    """
    wanted = list(_wanted(ask, asked))
    turns = asyncio.Semaphore(AT_ONCE)

    async def count(each: _Wanted) -> Count | DistriQueueError:
        if each.known is not None:
            return each.known
        async with turns:
            try:
                return await ask.parts.reader.count(each.where)
            except DistriQueueError as exc:
                return exc

    async with asyncio.TaskGroup() as group:
        counting = [group.create_task(count(each)) for each in wanted]
    found: dict[str, list[Facet]] = {}
    for each, task in zip(wanted, counting, strict=True):
        counted = task.result()
        if isinstance(counted, DistriQueueError):
            raise counted
        facet = Facet(each.value, counted, href(str(each.other)), each.chosen)
        found.setdefault(each.name, []).append(facet)
    return found


def _wanted(ask: Ask, asked: Asked) -> Iterator[_Wanted]:
    where, chosen = asked.where(ask.now), asked.filter
    sample = ask.desk.sampler.latest
    stored = sample.figures.stored if sample is not None and replace(where, statuses=()) == JobFilter() else None
    for status in Status:
        other = replace(chosen, statuses=_toggled(chosen.statuses, status))
        known = None if stored is None else Count(stored.get(status.value, 0), exact=True)
        narrowed = replace(where, statuses=(status,))
        yield _Wanted("status", status.value, narrowed, other, status in chosen.statuses, known)
    for priority in Priority:
        other = replace(chosen, priorities=_toggled(chosen.priorities, priority))
        narrowed = replace(where, priorities=(priority,))
        yield _Wanted("priority", priority.value.lower(), narrowed, other, priority in chosen.priorities)
    for type_ in _types(ask, chosen.types):
        other = replace(chosen, types=_toggled(chosen.types, type_))
        yield _Wanted("type", type_, replace(where, types=(type_,)), other, type_ in chosen.types)


def _types(ask: Ask, chosen: Sequence[str]) -> list[str]:
    sample = ask.desk.sampler.latest
    tallies = {} if sample is None else sample.figures.by_type
    frequent = sorted(tallies, key=lambda name: (-tallies[name].jobs, name))[:MOST_TYPES]
    return list(dict.fromkeys([*chosen, *frequent]))


def _toggled(chosen: Sequence[Any], value: Any) -> tuple[Any, ...]:
    return tuple(each for each in chosen if each != value) if value in chosen else (*chosen, value)
