"""Rate limits of job types: how many jobs of a type may start in a period. The schema's `throttle` keeps to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from distriqueue.core.errors import NotFound
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("limits.sql")
FREED: Final = 500
"""Jobs freed in one transaction when a limit is lifted."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `permits` starts per `per_s` seconds, over any time; at most `permits` at once after an idle one."""

    type: str
    permits: int
    per_s: float
    tokens: float
    """Starts that are free at this moment."""


class LimitStore:
    """The table of limits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[RateLimit]:
        """Return the limits by type."""
        return [_limit(row) for row in await self._database.fetch(SQL["all"])]

    async def put(self, type_: str, *, permits: int, per_s: float) -> RateLimit:
        """Set a type's limit; a new one begins full, a changed one with what it had, at most what it holds now."""
        return _limit((await self._database.fetch(SQL["put"], type_, permits, per_s))[0])

    async def delete(self, type_: str) -> None:
        """Lift a limit, and let go at once what waits for a slot of it; NotFound."""
        if not await self._database.fetch(SQL["delete"], type_):
            raise NotFound(f"there is no rate limit for the type {type_!r}")
        while await self._database.fetch(SQL["free"], type_, FREED):
            pass


def _limit(row: Mapping[str, Any]) -> RateLimit:
    return RateLimit(row["type"], row["permits"], row["per_s"], row["tokens"])
