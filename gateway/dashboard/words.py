"""Figures, spans and times as people read them."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400.0, "d", 3_600.0, "h"), (3_600.0, "h", 60.0, "min"), (60.0, "min", 1.0, "s"))
_LARGE: Final = ((999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (1e4, 1e3, "k"))
"""From where on, what it is divided by, and the unit."""
NOTHING: Final = "–"


def count(value: float | None) -> str:
    """Write a number: 950, 9,481, 12.3k, 1.25M."""
    if value is None:
        return NOTHING
    for least, unit_size, unit in _LARGE:
        if abs(value) >= least:
            scaled = value / unit_size
            return f"{scaled:.3g}{unit}" if abs(scaled) < 999.5 else f"{scaled:,.0f}{unit}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.3g}"


def exact(value: float | None) -> str:
    """Write a number with all of its digits."""
    return NOTHING if value is None else f"{value:,.0f}"


def span(seconds: float | None) -> str:
    """Write how long something takes: 3 ms, 1.24 s, 12 s, 3 min 5 s, 2 h 7 min, 4 d 1 h."""
    if seconds is None:
        return NOTHING
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 or seconds == 0 else f"{seconds * 1000:.2g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    for least, unit, rest_s, rest_unit in _UNITS:
        if seconds >= least:
            whole, left = divmod(seconds, least)
            rest = int(left // rest_s)
            return f"{whole:.0f} {unit}" + (f" {rest} {rest_unit}" if rest else "")
    return f"{seconds:.0f} s"


def percent(share: float | None) -> str:
    """Write a share: 0 %, 0.31 %, 4.2 %, 87 %."""
    if share is None:
        return NOTHING
    value = 100 * share
    if value == 0 or value >= 10:
        return f"{value:.0f} %"
    return f"{value:.2g} %" if value >= 0.01 else "< 0.01 %"


def moment(at: datetime | None) -> str:
    """Write a time in UTC, to the second."""
    return NOTHING if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def stamp(at: datetime) -> str:
    """Write a time for programs."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from one time to the other; None while one of them is unknown."""
    return None if start is None or end is None else max((end - start).total_seconds(), 0.0)


def size(count_bytes: int) -> str:
    """Write a size: 812 B, 4.1 kB, 3.2 MB."""
    for least, unit in ((1e6, "MB"), (1e3, "kB")):
        if count_bytes >= least:
            scaled = count_bytes / least
            return f"{scaled:.2g} {unit}" if scaled < 10 else f"{scaled:.0f} {unit}"
    return f"{count_bytes} B"


def sentence(text: str) -> str:
    """Write a sentence: with a capital unless it begins with a name, and a full stop."""
    text = text.rstrip(": ")
    first = text.partition(" ")[0]
    return (text[:1].upper() + text[1:] if first.isalpha() else text) + ("" if text.endswith((".", "!", "?")) else ".")
