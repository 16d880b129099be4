"""`validate`: whether a value is what it should be. A value that is not is a result, not a failure.

Payload: `{"type": "email", "value": "a@b.example"}`. Result: `{"type", "valid", "errors"}`, `errors` in words.

| type | further fields | valid when |
|---|---|---|
| email | | an address of RFC 5321's length with one `@`, a dot-atom before, a domain with a dot behind |
| phone | | E.164: `+` and 7 to 15 digits, or 7 to 15 digits with blanks, dots, dashes and brackets |
| numeric | | a number, or a text that reads as one, finite |
| required | | neither null nor blank nor empty |
| range | `min`, `max` | a number (or a text that reads as one) between, both included |
| length | `min`, `max` | a text, list or object with so many characters, items, keys |
| regex | `pattern`, `fullMatch` | a text in which the pattern is found (or that matches it whole) |

Patterns are run by RE2, in time linear in the text: no pattern can hang a worker. Look-arounds and back-references
do not exist there; a pattern that RE2 does not take fails the job without retries.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from distriqueue.core.errors import Discard
from workers.handlers.registry import Registry

MAX_PATTERN: Final = 1_000
MAX_NUMBER_TEXT: Final = 400
_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 8 * 1024 * 1024

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL: Final = re2.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}", _OPTIONS)
_PHONE: Final = re2.compile(r"\+?(?:\([0-9]{1,5}\)|[0-9])(?:[ .-]?(?:\([0-9]{1,5}\)|[0-9]))*", _OPTIONS)
_NUMBER: Final = re2.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", _OPTIONS)


class Validate(BaseModel):
    """What `validate` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["email", "phone", "numeric", "required", "range", "length", "regex"]
    value: Any = None
    min: FiniteFloat | None = None
    max: FiniteFloat | None = None
    pattern: Annotated[str, Field(max_length=MAX_PATTERN)] | None = None
    full_match: Annotated[bool, Field(alias="fullMatch")] = False


def validate(payload: Validate) -> dict[str, Any]:
    """Judge the value; Discard when the question itself makes no sense."""
    error = _CHECKS[payload.type](payload)
    return {"type": payload.type, "valid": error is None, "errors": [] if error is None else [error]}


def registry() -> Registry:
    """Return a registry with `validate`."""
    handlers = Registry()
    handlers.handler("validate")(validate)
    return handlers


def _email(payload: Validate) -> str | None:
    value = payload.value
    if not isinstance(value, str):
        return "not a text"
    local, _, _domain = value.rpartition("@")
    if len(value) > 254 or len(local) > 64:
        return "longer than an address may be"
    return None if _EMAIL.fullmatch(value) else "not an e-mail address"


def _phone(payload: Validate) -> str | None:
    value = payload.value
    if not isinstance(value, str):
        return "not a text"
    if len(value) > 50 or not _PHONE.fullmatch(value.strip()):
        return "not a telephone number"
    digits = sum(character.isdigit() for character in value)
    return None if 7 <= digits <= 15 else f"{digits} digits, a telephone number has 7 to 15"


def _numeric(payload: Validate) -> str | None:
    return None if _number(payload.value) is not None else "not a number"


def _required(payload: Validate) -> str | None:
    value = payload.value
    missing = value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})
    return "missing or empty" if missing else None


def _range(payload: Validate) -> str | None:
    _check_bounds(payload)
    number = _number(payload.value)
    return "not a number" if number is None else _outside(number, payload)


def _length(payload: Validate) -> str | None:
    _check_bounds(payload)
    if not isinstance(payload.value, str | list | dict):
        return "neither a text nor a list nor an object: it has no length"
    return _outside(len(payload.value), payload)


def _regex(payload: Validate) -> str | None:
    if payload.pattern is None:
        raise Discard("payload.pattern: regex needs one")
    try:
        pattern = re2.compile(payload.pattern, _OPTIONS)
    except (re2.error, UnicodeEncodeError) as exc:
        reason = exc.args[0] if exc.args else exc
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise Discard(f"payload.pattern: not a regular expression of RE2: {said}") from None
    if not isinstance(payload.value, str):
        return "not a text"
    found = pattern.fullmatch(payload.value) if payload.full_match else pattern.search(payload.value)
    return None if found else "does not match the pattern"


def _check_bounds(payload: Validate) -> None:
    if payload.min is None and payload.max is None:
        raise Discard(f"payload: {payload.type} needs min, max or both")
    if payload.min is not None and payload.max is not None and payload.min > payload.max:
        raise Discard("payload.min: above max")


def _outside(number: int | float, payload: Validate) -> str | None:
    if payload.min is not None and number < payload.min:
        return f"below {payload.min:g}"
    if payload.max is not None and number > payload.max:
        return f"above {payload.max:g}"
    return None


def _number(value: Any) -> int | float | None:
    """Read a number; None for what is none (booleans are none)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) <= MAX_NUMBER_TEXT and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    return value if isinstance(value, float) and math.isfinite(value) else None


_CHECKS: Final[Mapping[str, Callable[[Validate], str | None]]] = MappingProxyType(
    {
        "email": _email,
        "phone": _phone,
        "numeric": _numeric,
        "required": _required,
        "range": _range,
        "length": _length,
        "regex": _regex,
    }
)
