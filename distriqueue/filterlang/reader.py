"""From terms to a filter, and what a text that is being typed may become."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final
from uuid import UUID

from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.filterlang.filter import Filter
from distriqueue.filterlang.terms import Term, Value, quoted, terms
from distriqueue.filterlang.times import Moment, NoTime, bounds
from distriqueue.filterlang.words import EXAMPLES, VALUES, Field, WrongFilter

MAX_CHARS: Final = 4_000
MAX_VALUES: Final = 50
MAX_VALUE_CHARS: Final = 200
"""What the API takes of one field, and of one value."""
MAX_DEPTH: Final = 10
_DOCUMENTS: Final = frozenset({"result", "metadata", "error"})

_END: Final = {Field.PAYLOAD: "."}
"""What follows a field's name, where that is no colon."""


def parse(text: str) -> Filter:
    """Read a filter; WrongFilter says where it is wrong."""
    if len(text) > MAX_CHARS:
        raise WrongFilter(f"a filter has at most {MAX_CHARS:,} characters", text=text, start=MAX_CHARS, end=len(text))
    reader = _Reader(text)
    for term in terms(text):
        reader.take(term)
    return reader.filter()


def completions(text: str, known: Mapping[Field, Sequence[str]] | None = None) -> list[str]:
    """Return whole texts that the one which is being typed may become: its last word with a field, then with a value.

    `known` adds the values that the caller knows, such as job types.
    """
    head, _, word = text.rpartition(" ")
    lead = f"{head} " if head else ""
    name, colon, typed = word.partition(":")
    if not colon:
        return [f"{lead}{field}{_END.get(field, ':')}" for field in Field if field.startswith(name.lower())]
    if name.lower() not in [*Field]:
        return []
    field = Field(name.lower())
    before, comma, last = typed.rpartition(",")
    offered = [*VALUES.get(field, ()), *map(quoted, (known or {}).get(field, ()))]
    return [f"{lead}{field}:{before}{comma}{value}" for value in offered if value.lower().startswith(last.lower())]


class _Reader:
    """Collects terms."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._several: dict[Field, list[str]] = {}
        self._single: dict[Field, str] = {}
        self._since: list[Moment] = []
        self._until: list[Moment] = []
        self._payload: list[tuple[str, str]] = []
        self._words: list[str] = []

    def take(self, term: Term) -> None:
        """Add a term."""
        if term.name is None:
            self._free(term.values[0])
            return
        field = self._field(term, term.name)
        for value in term.values:
            if not value.text:
                raise self._wrong(f"`{field}:` needs a value, such as {EXAMPLES[field]}", term)
            if len(value.text) > MAX_VALUE_CHARS or "\0" in value.text:
                raise self._wrong(f"a {field} has at most {MAX_VALUE_CHARS} characters, and no NUL", value)
            match field:
                case Field.STATUS | Field.PRIORITY:
                    self._add(field, self._choice(field, value), value)
                case Field.TYPE | Field.TAG:
                    self._add(field, value.text, value)
                case Field.WORKER | Field.BATCH | Field.SCHEDULE:
                    self._set(field, value)
                case Field.CREATED:
                    self._created(value)
                case Field.PAYLOAD:
                    self._document(self._path(term, term.name), value)

    def filter(self) -> Filter:
        """Return what was collected."""
        batch = self._single.get(Field.BATCH)
        return Filter(
            statuses=tuple(Status.parse(value) for value in self._several.get(Field.STATUS, ())),
            priorities=tuple(Priority.parse(value) for value in self._several.get(Field.PRIORITY, ())),
            types=tuple(self._several.get(Field.TYPE, ())),
            tags=tuple(self._several.get(Field.TAG, ())),
            worker=self._single.get(Field.WORKER),
            batch=None if batch is None else UUID(batch),
            schedule=self._single.get(Field.SCHEDULE),
            since=tuple(self._since),
            until=tuple(self._until),
            payload=tuple(self._payload),
            text=" ".join(self._words) or None,
        )

    def _free(self, value: Value) -> None:
        self._words += [value.text] if value.text else []
        if len(" ".join(self._words)) > MAX_VALUE_CHARS or "\0" in value.text:
            raise self._wrong(f"free text has at most {MAX_VALUE_CHARS} characters, and no NUL", value)

    def _field(self, term: Term, name: str) -> Field:
        lower, end = name.lower(), term.start + len(name)
        head = lower.partition(".")[0]
        if lower in [*Field] or head == Field.PAYLOAD:
            return Field(head)
        message, suggestion = f"there is no field {name!r}", None
        if head in _DOCUMENTS:
            message = f"jobs cannot be filtered by what is in their {head}"
        elif close := get_close_matches(lower, [*Field], 1):
            suggestion = f"{close[0]}:"
            end += 1
        else:
            message += f": there are {', '.join(Field)}; free text with a colon goes into quotes"
        raise WrongFilter(message, text=self._text, start=term.start, end=end, suggestion=suggestion)

    def _choice(self, field: Field, value: Value) -> str:
        """Return a value out of few."""
        choices = VALUES[field]
        if value.text.lower() in choices:
            return value.text.lower()
        close = get_close_matches(value.text.lower(), choices, 1)
        if close:
            raise self._wrong(f"there is no {field} {value.text!r}", value, suggestion=close[0])
        raise self._wrong(f"there is no {field} {value.text!r}: there are {', '.join(choices)}", value)

    def _add(self, field: Field, text: str, value: Value) -> None:
        kept = self._several.setdefault(field, [])
        if text not in kept:
            kept.append(text)
        if len(kept) > MAX_VALUES:
            raise self._wrong(f"`{field}:` takes at most {MAX_VALUES} values", value)

    def _set(self, field: Field, value: Value) -> None:
        text = value.text
        if field is Field.BATCH:
            try:
                text = str(UUID(text))
            except ValueError:
                raise self._wrong(f"a batch is named by its UUID, not {text!r}", value) from None
        if self._single.setdefault(field, text) != text:
            raise self._wrong(f"`{field}:` takes one value, and has another already", value)

    def _created(self, value: Value) -> None:
        try:
            since, until = bounds(value.text)
        except NoTime as exc:
            raise self._wrong(str(exc), value, suggestion=exc.suggestion) from None
        self._since += [since] if since else []
        self._until += [until] if until else []

    def _path(self, term: Term, name: str) -> str:
        """Return where in the payload a term looks; names there have their case."""
        path = name.partition(".")[2]
        if not path or not all(path.split(".")) or path.count(".") >= MAX_DEPTH:
            message = f"`payload` takes a path of 1 to {MAX_DEPTH} names, such as {EXAMPLES[Field.PAYLOAD]}"
            raise WrongFilter(message, text=self._text, start=term.start, end=term.start + len(name))
        return path

    def _document(self, path: str, value: Value) -> None:
        if (path, value.text) not in self._payload:
            self._payload.append((path, value.text))
        if len(self._payload) > MAX_VALUES:
            raise self._wrong(f"`payload` takes at most {MAX_VALUES} values", value)

    def _wrong(self, message: str, place: "Term | Value", *, suggestion: str | None = None) -> WrongFilter:
        return WrongFilter(message, text=self._text, start=place.start, end=place.end, suggestion=suggestion)
