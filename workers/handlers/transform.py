"""`transform`: the same simple change to a text, a list or an object.

Payload: `{"operation": "uppercase", "data": …}`. Result: `{"operation", "result"}`.

| operation | text | list | object | number, boolean, null |
|---|---|---|---|---|
| uppercase, lowercase | changed | each item | each value, keys stay | as it is |
| reverse | by characters | the items' order | keys and values swapped | digits of an integer; else an error |
| filter | blank characters at both ends removed | empty items removed | empty values removed | as it is |
| normalize | see below | numbers only: scaled to 0…1; else each item | each key and value | as it is |

A text is normalized to NFC and lower case, with single blanks between its words and none around.

`filter` with `contains` keeps the items (or values) whose text has it, with `equals` those that are it, and
with `min` and `max` the numbers between. Empty means null, "", [] and {}: 0 and false stay.
"""

import unicodedata
from collections.abc import Callable
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from distriqueue.core.errors import Discard
from workers.handlers.registry import Registry

MAX_DEPTH: Final = 100


class Transform(BaseModel):
    """What `transform` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation: Literal["uppercase", "lowercase", "reverse", "filter", "normalize"] = "uppercase"
    data: Any
    contains: str | None = None
    equals: Any = None
    min: float | None = None
    max: float | None = None

    @property
    def has_condition(self) -> bool:
        """Whether `filter` looks for something, instead of for what is empty."""
        return bool(self.model_fields_set & {"contains", "equals", "min", "max"})


def transform(payload: Transform) -> dict[str, Any]:
    """Do the operation; Discard when the data does not admit it."""
    if payload.has_condition and payload.operation != "filter":
        raise Discard(f"payload: contains, equals, min and max belong to filter, not to {payload.operation}")
    match payload.operation:
        case "uppercase":
            result = _each_text(payload.data, str.upper)
        case "lowercase":
            result = _each_text(payload.data, str.lower)
        case "reverse":
            result = _reverse(payload.data)
        case "filter":
            result = _filter(payload)
        case "normalize":
            result = _normalize(payload.data)
    return {"operation": payload.operation, "result": result}


def registry() -> Registry:
    """Return a registry with `transform`."""
    handlers = Registry()
    handlers.handler("transform")(transform)
    return handlers


def _each_text(data: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """Change every text in the data, at any depth; keys of objects stay."""
    _check_depth(depth)
    if isinstance(data, str):
        return change(data)
    if isinstance(data, list):
        return [_each_text(item, change, depth + 1) for item in data]
    if isinstance(data, dict):
        return {key: _each_text(value, change, depth + 1) for key, value in data.items()}
    return data


def _reverse(data: Any) -> Any:
    if isinstance(data, str | list):
        return data[::-1]
    if isinstance(data, dict):
        if not all(isinstance(value, str | int | float) for value in data.values()):
            raise Discard("payload.data: to reverse an object, its values must be texts or numbers")
        reversed_ = {_key(value): key for key, value in data.items()}
        if len(reversed_) < len(data):
            raise Discard("payload.data: to reverse an object, its values must differ")
        return reversed_
    if isinstance(data, int) and not isinstance(data, bool):
        digits = int(str(abs(data))[::-1])
        return -digits if data < 0 else digits
    raise Discard("payload.data: reverse takes a text, a list, an object or an integer")


def _filter(payload: Transform) -> Any:
    keep = _condition(payload)
    data = payload.data
    if isinstance(data, list):
        return [item for item in data if keep(item)]
    if isinstance(data, dict):
        return {key: value for key, value in data.items() if keep(value)}
    if payload.has_condition:
        raise Discard("payload.data: filter with a condition takes a list or an object")
    return data.strip() if isinstance(data, str) else data


def _condition(payload: Transform) -> Callable[[Any], bool]:
    if not payload.has_condition:
        return lambda item: not _is_empty(item)

    def keep(item: Any) -> bool:
        if payload.contains is not None and not (isinstance(item, str) and payload.contains in item):
            return False
        if "equals" in payload.model_fields_set and not _is_same(item, payload.equals):
            return False
        if payload.min is None and payload.max is None:
            return True
        if isinstance(item, bool) or not isinstance(item, int | float):
            return False
        return (payload.min is None or item >= payload.min) and (payload.max is None or item <= payload.max)

    return keep


def _normalize(data: Any, depth: int = 0) -> Any:
    _check_depth(depth)
    if isinstance(data, str):
        return " ".join(unicodedata.normalize("NFC", data).split()).lower()
    if isinstance(data, list):
        if data and all(isinstance(item, int | float) and not isinstance(item, bool) for item in data):
            return _scaled(data)
        return [_normalize(item, depth + 1) for item in data]
    if isinstance(data, dict):
        normalized = {_normalize(key, depth + 1): _normalize(value, depth + 1) for key, value in data.items()}
        if len(normalized) < len(data):
            raise Discard("payload.data: two keys are the same once normalized")
        return normalized
    return data


def _scaled(numbers: list[int | float]) -> list[float]:
    """Scale to 0…1, the least to 0 and the greatest to 1; equal numbers to 0."""
    least, greatest = min(numbers), max(numbers)
    if least == greatest:
        return [0.0] * len(numbers)
    try:
        # Halved, so that the span of the largest floats is still one.
        span = greatest / 2 - least / 2
        return [(number / 2 - least / 2) / span for number in numbers]
    except OverflowError:
        raise Discard("payload.data: numbers beyond what a float can hold cannot be scaled") from None


def _is_empty(item: Any) -> bool:
    return item is None or (isinstance(item, str) and not item.strip()) or item in ([], {})


def _is_same(item: Any, other: Any) -> bool:
    return isinstance(item, bool) is isinstance(other, bool) and bool(item == other)


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Discard(f"payload.data: nested deeper than {MAX_DEPTH}")
