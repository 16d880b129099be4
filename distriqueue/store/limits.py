"""Rate limits of job types: how many jobs of a type may start in a period. The schema's `throttle` keeps to them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from distriqueue.core.errors import NotFound
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("limits.sql")
BATCH: Final = 500
"""Waiting jobs that one transaction gives another slot, or none."""
TIME_S: Final = 8.0
"""What is not done by then is left to the next call."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `permits` starts per `per_s` seconds, over any time; at most `permits` at once after an idle one."""

    type: str
    permits: int
    per_s: float
    tokens: float
    """Starts that are free at this moment."""


class LimitStore:
    """The table of limits, and the slots of those that wait."""

    def __init__(self, database: Database, *, batch: int = BATCH, time_s: float = TIME_S) -> None:
        self._database = database
        self._batch = batch
        self._time_s = time_s

    async def all(self) -> list[RateLimit]:
        """Return the limits by type."""
        return [_limit(row) for row in await self._database.fetch(SQL["all"])]

    async def put(self, type_: str, *, permits: int, per_s: float) -> RateLimit:
        """Set a type's limit; a new one begins full, a changed one with what it had, at most what it holds now.

        What waits gets the slots that the new limit gives, where they are earlier: also after many before it are gone.
        Set again, it goes on with what there was no time for.
        """
        limit = _limit((await self._database.fetch(SQL["put"], type_, permits, per_s))[0])
        deadline = time.monotonic() + self._time_s
        last, place = (datetime.min.replace(tzinfo=UTC), UUID(int=0)), 0
        while time.monotonic() < deadline:
            rows = await self._database.fetch(SQL["hasten"], type_, *last, place, self._batch)
            if not rows:
                break
            last, place = (rows[0]["rate_slot"], rows[0]["id"]), rows[0]["place"]
        return limit

    async def delete(self, type_: str) -> None:
        """Lift a limit, and let go at once what waits for a slot of it; NotFound.

        Done again, it goes on with what there was no time for.
        """
        lifted = bool(await self._database.fetch(SQL["delete"], type_))
        deadline = time.monotonic() + self._time_s
        freed = 0
        while time.monotonic() < deadline:
            rows = await self._database.fetch(SQL["free"], type_, self._batch)
            freed += len(rows)
            if not rows:
                break
        if not lifted and not freed:
            raise NotFound(f"there is no rate limit for the type {type_!r}")


def _limit(row: Mapping[str, Any]) -> RateLimit:
    return RateLimit(row["type"], row["permits"], row["per_s"], row["tokens"])
