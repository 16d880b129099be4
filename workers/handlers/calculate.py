"""`calculate`: sums, averages and the like of a list of numbers.

Payload: `{"operation": "sum", "numbers": [1, 2, 3]}`. Result: `{"operation", "count", "result"}`, where `result` is a
number, a list (sort) or an object (aggregate, statistics). Integers stay exact whatever their size; with a float
among them sums are compensated (`math.fsum`). A payload without a sensible answer, like the average of nothing, fails
without retries.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from distriqueue.core.errors import Discard
from workers.handlers.registry import Registry

MAX_NUMBERS: Final = 100_000
MAX_DIGITS: Final = 1_000
"""Of one integer: its text takes quadratic time."""

_BOUND: Final = 10**MAX_DIGITS


def _check_number(value: object) -> object:
    """Take JSON's numbers as they are: texts and booleans are none, and NaN is none either."""
    if isinstance(value, bool) or not isinstance(value, int | float) or (value != value):  # noqa: PLR0124
        raise PydanticCustomError("number", "a number is needed")
    if not -_BOUND < value < _BOUND:
        raise PydanticCustomError(
            "number", "a finite number is needed, of at most {digits} digits", {"digits": MAX_DIGITS}
        )
    return value


Number: TypeAlias = Annotated[int | float, PlainValidator(_check_number)]
Numbers: TypeAlias = Sequence[int | float]


class Calculate(BaseModel):
    """What `calculate` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation: Literal["sum", "average", "min", "max", "sort", "aggregate", "statistics"] = "sum"
    numbers: Annotated[list[Number], Field(max_length=MAX_NUMBERS)]
    descending: bool = False
    """For sort."""


def calculate(payload: Calculate) -> dict[str, Any]:
    """Do the operation; Discard when it has no answer."""
    numbers = payload.numbers
    if not numbers and payload.operation not in _TAKE_NOTHING:
        raise Discard(f"payload.numbers: {payload.operation} needs at least one number")
    try:
        if payload.operation == "sort":
            result: Any = sorted(numbers, reverse=payload.descending)
        else:
            result = _OPERATIONS[payload.operation](numbers)
    except OverflowError:
        raise Discard(f"payload.numbers: the {payload.operation} is beyond what a float can hold") from None
    answer = {"operation": payload.operation, "count": len(numbers), "result": result}
    # A single number also stands under its operation's name: {"sum": 15} is what most callers look for.
    return answer if isinstance(result, list | dict) else answer | {payload.operation: result}


def registry() -> Registry:
    """Return a registry with `calculate`."""
    handlers = Registry()
    handlers.handler("calculate")(calculate)
    return handlers


def _total(numbers: Numbers) -> int | float:
    if all(isinstance(number, int) for number in numbers):
        return sum(numbers)
    return _finite(math.fsum(numbers))


def _average(numbers: Numbers) -> int | float:
    return _exact_ratio(_total(numbers), len(numbers))


def _aggregate(numbers: Numbers) -> dict[str, Any]:
    if not numbers:
        return {"count": 0, "sum": 0, "min": None, "max": None, "average": None}
    total = _total(numbers)
    return {
        "count": len(numbers),
        "sum": total,
        "min": min(numbers),
        "max": max(numbers),
        "average": _exact_ratio(total, len(numbers)),
    }


def _statistics(numbers: Numbers) -> dict[str, Any]:
    """Return the aggregate, and how the numbers are spread; variance and deviation are the population's."""
    ordered = sorted(numbers)
    mean = _average(numbers)
    variance = _finite(math.fsum((number - mean) ** 2 for number in numbers) / len(numbers))
    return {
        **_aggregate(numbers),
        "median": _median(ordered),
        "mode": statistics.multimode(ordered)[0],
        "range": _finite(ordered[-1] - ordered[0]),
        "variance": variance,
        "standardDeviation": math.sqrt(variance),
        "quartiles": [_quantile(ordered, quarter) for quarter in (1, 2, 3)],
    }


def _median(ordered: Numbers) -> int | float:
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return _exact_ratio(_finite(ordered[middle - 1] + ordered[middle]), 2)


def _quantile(ordered: Numbers, quarter: int) -> int | float:
    """Interpolate between the two nearest (the `inclusive` method of `statistics.quantiles`)."""
    below, rest = divmod(quarter * (len(ordered) - 1), 4)
    if not rest:
        return ordered[below]
    return _finite((ordered[below] * (4 - rest) + ordered[below + 1] * rest) / 4)


def _exact_ratio(total: int | float, count: int) -> int | float:
    """Divide, and stay an integer where that is exact."""
    if isinstance(total, int) and total % count == 0:
        return total // count
    return _finite(total / count)


def _finite(number: int | float) -> int | float:
    if isinstance(number, float) and not math.isfinite(number):
        raise OverflowError
    return number


_TAKE_NOTHING: Final = frozenset({"sum", "sort", "aggregate"})
_OPERATIONS: Final[Mapping[str, Callable[[Numbers], Any]]] = MappingProxyType(
    {
        "sum": _total,
        "average": _average,
        "min": min,
        "max": max,
        "aggregate": _aggregate,
        "statistics": _statistics,
    }
)
