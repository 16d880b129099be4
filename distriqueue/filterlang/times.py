"""When a job was created: ages such as `2h`, times and days."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

UNITS_S: Final[Mapping[str, int]] = {"w": 7 * 86_400, "d": 86_400, "h": 3600, "m": 60, "s": 1}
MAX_AGE_S: Final = 36_500 * 86_400
_YEARS: Final = range(1970, 9998)
"""What the API tells apart."""
_LEAST: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


class NoTime(ValueError):
    """The text says no time; `suggestion` (if any) would."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, or an age that becomes one once it is known what time it is."""

    at: datetime | None = None
    age_s: int = 0

    def resolved(self, now: datetime) -> datetime:
        """Return the time."""
        return now - timedelta(seconds=self.age_s) if self.at is None else self.at


Bounds = tuple[Moment | None, Moment | None]
"""At or after the first, before the second."""


def bounds(text: str) -> Bounds:
    """Read the value of `created:`; NoTime."""
    first, dots, second = text.partition("..")
    if dots:
        return Moment(_time(first)), Moment(_time(second))
    found = re.match(r"<=|>=|<|>", text)
    operator = found[0] if found else ""
    rest = text.removeprefix(operator)
    seconds = age_s(rest)
    if seconds is not None:
        return _of_age(operator, rest, Moment(age_s=seconds))
    start = _time(rest)
    end = start + (_DAY if _is_day(rest) else _LEAST)  # the first moment after it
    if not operator and not _is_day(rest):
        raise NoTime("say whether before or since", f">={rest}")
    since = {"": start, ">=": start, ">": end}.get(operator)
    until = {"": end, "<=": end, "<": start}.get(operator)
    return Moment(since) if since else None, Moment(until) if until else None


def age_s(text: str) -> int | None:
    """Read `2h`; None for what is no age, or one of more than 100 years."""
    found = re.fullmatch(r"(\d{1,10})([smhdw])", text.lower(), re.ASCII)
    seconds = int(found[1]) * UNITS_S[found[2]] if found else None
    return seconds if seconds is not None and seconds <= MAX_AGE_S else None


def spelt_age(seconds: int) -> str:
    """Write an age in the largest unit that it is a whole number of."""
    unit = next(unit for unit, unit_s in UNITS_S.items() if seconds % unit_s == 0 and (seconds or unit_s == 1))
    return f"{seconds // UNITS_S[unit]}{unit}"


def rfc3339(at: datetime) -> str:
    """Write a time as the API does."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _of_age(operator: str, text: str, moment: Moment) -> Bounds:
    """An age has no least unit: `<` and `<=` are one."""
    if not operator:
        raise NoTime(f"`<{text}` is in the last {text}, `>{text}` longer ago", f"<{text}")
    return (moment, None) if operator.startswith("<") else (None, moment)


def _time(text: str) -> datetime:
    try:
        if _is_day(text):
            at = datetime.combine(date.fromisoformat(text), time(), UTC)
        else:
            at = datetime.fromisoformat(text)
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NoTime(f"{text!r} is no time: write an age such as <2h, or a day or time such as >=2030-01-31") from None
    if at.year not in _YEARS:
        raise NoTime(f"{text!r} is before {_YEARS.start} or after {_YEARS.stop - 1}")
    return at


def _is_day(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is not None
