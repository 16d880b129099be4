"""Cron expressions: when a schedule fires. cronsim's semantics, which are Debian's; all times in and out are UTC.

Five fields (minute hour day month weekday), or six with the second first. Where clocks change, an expression of five
fields whose minute and hour do not start with a star fires once: what falls into the gap at the gap's end, what comes
twice the first time. Any other follows the clock on the wall: nothing in the gap, both times in the overlap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import chain
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from distriqueue.core.errors import InvalidRequest

MAX_CHARS: Final = 200
MAX_TIMES: Final = 20_000
"""Fire times that `due` looks at: some ten milliseconds."""
MAX_FIRES: Final = 200
"""Fires that `due` decides on at once."""


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression in a time zone, checked."""

    expression: str
    zone: str
    _tzinfo: tzinfo

    @classmethod
    def parse(cls, expression: str, zone: str = "UTC") -> "Cron":
        """Read both; InvalidRequest says which is wrong, or that it would never fire."""
        if len(expression) > MAX_CHARS:
            raise _wrong("cron", f"at most {MAX_CHARS} characters")
        cron = cls(expression, zone, _zone(zone))
        try:
            CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as exc:
            raise _wrong("cron", f"{exc}: five fields, or six with the second first") from exc
        if next(cron.after(datetime(2000, 1, 1, tzinfo=UTC)), None) is None:
            raise _wrong("cron", "it would never fire")
        return cron

    def after(self, at: datetime) -> Iterator[datetime]:
        """Yield the fire times after `at`, each later than the one before."""
        last = at
        for fire in CronSim(self.expression, at.astimezone(self._tzinfo)):
            utc = fire.astimezone(UTC)
            if utc > last:  # several that fall into a gap are one at its end
                last = utc
                yield utc


@dataclass(frozen=True, slots=True)
class Due:
    """What to do about the fire times that have come."""

    fires: list[datetime]
    missed: int
    """Fire times that are given up: they came too late."""
    next_fire: datetime | None
    """The first fire time that is not dealt with; past ones remain when there were too many at once."""


def due(cron: Cron, next_fire: datetime, now: datetime, *, grace_s: float) -> Due:
    """Decide about the fire times from `next_fire` to `now`, at most MAX_TIMES of them.

    One that is late by no more than the grace fires. An older one is given up, except the newest of all: however long
    the platform was down, what should have run while it was runs once.
    """
    fires: list[datetime] = []
    newest_late: datetime | None = None
    late = 0
    for count, at in enumerate(chain([next_fire], cron.after(next_fire))):
        if at > now:
            if newest_late is not None and not fires:
                return Due([newest_late], late - 1, at)
            return Due(fires, late, at)
        if len(fires) == MAX_FIRES:
            return Due(fires, late, at)
        if count == MAX_TIMES and newest_late is not None and not fires:
            return Due([], late - 1, newest_late)
        if (now - at).total_seconds() > grace_s:
            newest_late, late = at, late + 1
        else:
            fires.append(at)
    return Due(fires or ([newest_late] if newest_late else []), late - (not fires and late > 0), None)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    if name == "localtime" or name.startswith(("right/", "posix/")):  # the machine's own, and such as no client means
        raise _wrong("timezone", f"{name[:100]!r} is not a time zone of the IANA database")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise _wrong("timezone", f"{name[:100]!r} is not a time zone of the IANA database") from exc


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", errors=[{"field": field, "message": message}])
