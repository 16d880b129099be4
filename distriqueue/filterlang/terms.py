"""From text to terms: where each begins and ends, and what its values are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from distriqueue.filterlang.words import WrongFilter

_SPACE: Final = re.compile(r"\s*")
_NAME: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*):")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE: Final = re.compile(r'[^\s,"]*')
_WORD: Final = re.compile(r'[^\s"]*')
_PLAIN: Final = re.compile(r'[^\s,:"]+')


@dataclass(frozen=True, slots=True)
class Value:
    """One value and its place."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Term:
    """`name:value,value`, or free text, which has no name and one value."""

    name: str | None
    values: tuple[Value, ...]
    start: int
    end: int


def terms(text: str) -> Iterator[Term]:
    """Yield the terms in their order; WrongFilter for an open quote, and for what hangs on a closed one."""
    at = _after(_SPACE, text, 0)
    while at < len(text):
        named = _NAME.match(text, at)
        if named:
            values, end = _values(text, named.end())
        else:
            value, end = _value(text, at, _WORD)
            values = (value,)
        if end < len(text) and not text[end].isspace():
            raise WrongFilter("a space is missing here", text=text, start=end, end=end + 1)
        yield Term(named[1] if named else None, values, at, end)
        at = _after(_SPACE, text, end)


def quoted(value: str) -> str:
    """Return a value as it is written in a filter: in quotes only if it must be."""
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _values(text: str, at: int) -> tuple[tuple[Value, ...], int]:
    """Read `a,"b c",d`; an empty value is kept, for the error that names its field."""
    values = []
    while True:
        value, at = _value(text, at, _BARE)
        values.append(value)
        if text[at : at + 1] != ",":
            return tuple(values), at
        at += 1


def _value(text: str, at: int, bare: "re.Pattern[str]") -> tuple[Value, int]:
    if text[at : at + 1] != '"':
        end = _after(bare, text, at)
        return Value(text[at:end], at, end), end
    found = _QUOTED.match(text, at)
    if found is None:
        closed = f'{text[at:].rstrip()}"'
        raise WrongFilter("this quote is not closed", text=text, start=at, end=len(text), suggestion=closed)
    return Value(re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), at, found.end()), found.end()


def _after(pattern: "re.Pattern[str]", text: str, at: int) -> int:
    """Return where what matches here ends."""
    found = pattern.match(text, at)
    return at if found is None else found.end()
