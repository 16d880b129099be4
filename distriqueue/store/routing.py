"""Which lane a dispatch goes through: its priority's, unless a rule sends its type through another; and which rest.

Rules and pauses are rows. Whoever dispatches or claims looks at a copy (`Routing`) that is at most REFRESH_S old, never
at the rows for one job. A paused lane takes no dispatch: its jobs stay `pending`, and the dispatcher sends them when it
goes on. What waits in the broker stays there, workers being told; a claim that comes anyway is refused, and its job
goes back to `pending`.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from pydantic_core import from_json

from distriqueue.core.errors import NotFound, StoreUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch
from distriqueue.store.database import Database
from distriqueue.store.statements import load
from distriqueue.telemetry import get_logger

log = get_logger("routing")

SQL: Final = load("routing.sql")
REFRESH_S: Final = 1.0
MAX_COUNT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Routes:
    """Rules and pauses of one instant."""

    rules: Mapping[str, Priority] = field(default_factory=dict)
    paused: frozenset[Priority] = frozenset()
    limited: frozenset[str] = frozenset()
    """Types with a rate limit."""

    def lane(self, type_: str, priority: Priority) -> Priority:
        """Return the lane for a job of the type and priority."""
        return self.rules.get(type_, priority)

    def open(self, dispatches: Iterable[Dispatch]) -> list[Dispatch]:
        """Return each dispatch as it is to be published, without those whose lane is paused."""
        if not self.rules and not self.paused:
            return list(dispatches)
        routed = (_through(each, self.lane(each.type, each.priority)) for each in dispatches)
        return [each for each in routed if each.priority not in self.paused]


@dataclass(frozen=True, slots=True)
class LaneControl:
    """Whether a lane rests, since when, and what the operator said."""

    paused: bool
    reason: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class LaneBacklog:
    """How many jobs are pending, and for how many seconds the longest has waited, for the broker or in it."""

    pending: int
    is_exact: bool
    oldest_s: float


class RoutingStore:
    """The rules and the lanes' controls, as operators change them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Routes:
        """Return rules and pauses as they are now."""
        row = (await self._database.fetch(SQL["load"]))[0]
        rules = {type_: Priority(lane) for type_, lane in from_json(row["rules"]).items()}
        return Routes(rules, frozenset(map(Priority, row["paused"])), frozenset(row["limited"]))

    async def set_rule(self, type_: str, lane: Priority) -> None:
        """Send the type's jobs through the lane, from their next dispatch on."""
        await self._database.fetch(SQL["set_rule"], type_, lane.value)

    async def delete_rule(self, type_: str) -> None:
        """Let the type's jobs go by their priority again; NotFound."""
        if not await self._database.fetch(SQL["delete_rule"], type_):
            raise NotFound(f"there is no routing rule for the type {type_!r}")

    async def pause(self, lane: Priority, *, reason: str | None = None) -> None:
        """Let no job of the lane start, until it is resumed; what runs goes on."""
        await self._database.fetch(SQL["pause"], lane.value, True, reason)

    async def resume(self, lane: Priority) -> None:
        """Let the lane go on."""
        await self._database.fetch(SQL["pause"], lane.value, False, None)

    async def backlogs(self) -> dict[Priority, LaneBacklog]:
        """Return how many jobs of each priority wait; counts are exact up to MAX_COUNT."""
        rows = await self._database.fetch(SQL["backlogs"], [lane.value for lane in Priority], MAX_COUNT + 1)
        return {
            Priority(row["priority"]): LaneBacklog(
                min(row["pending"], MAX_COUNT), is_exact=row["pending"] <= MAX_COUNT, oldest_s=row["oldest_s"] or 0.0
            )
            for row in rows
        }

    async def lanes(self) -> dict[Priority, LaneControl]:
        """Return each lane's control."""
        rows = await self._database.fetch(SQL["lanes"])
        return {Priority(row["lane"]): LaneControl(row["paused"], row["reason"], row["changed_at"]) for row in rows}


class Routing:
    """A process's copy of the routes."""

    def __init__(self, store: RoutingStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._refresh_at = clock()
        self._routes = Routes()
        self._loaded = False

    def expire(self) -> None:
        """Read them anew at the next use: this process has just changed them."""
        self._refresh_at = self._clock()

    async def fresh(self) -> Routes:
        """Return the routes, at most REFRESH_S old, or as they were last known while Postgres is away.

        One caller at a time reads them anew; others go on with what is there, once there is something.
        """
        now = self._clock()
        if now >= self._refresh_at or not self._loaded:
            self._refresh_at = now + REFRESH_S
            try:
                self._routes = await self._store.load()
                self._loaded = True
            except StoreUnavailable as exc:
                log.warning("routes_not_refreshed", error=exc.message)
        return self._routes


def _through(dispatch: Dispatch, lane: Priority) -> Dispatch:
    return dispatch if dispatch.priority is lane else replace(dispatch, priority=lane)
