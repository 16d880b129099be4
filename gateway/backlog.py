"""How many jobs wait to be run, and whether that is too many to take more."""

import asyncio
from typing import Final

from distriqueue.core.errors import Overloaded
from distriqueue.lifecycle import run_every
from distriqueue.store.statistics import StatisticsStore

LOOK_S: Final = 1.0
RETRY_AFTER_S: Final = 5.0


class Backlog:
    """A count of waiting jobs that is about two seconds old: it comes from the statistics, at constant cost.

    While the statistics fall far behind, nobody leading, nothing is refused: an old count may be far too high.
    """

    def __init__(self, store: StatisticsStore, *, most: int) -> None:
        self._store = store
        self._most = most
        self.waiting: int | None = None
        """None while it is not known."""

    def check(self) -> None:
        """Raise Overloaded when too many jobs wait already."""
        if self.waiting is not None and self.waiting >= self._most:
            raise Overloaded(
                f"{self.waiting} jobs wait to be run, and the bound is {self._most}", retry_after_s=RETRY_AFTER_S
            )

    async def run(self, stop: asyncio.Event) -> None:
        """Count again and again, until stopped."""
        await run_every(LOOK_S, self._look, name="backlog", stop=stop)

    async def _look(self) -> bool:
        self.waiting = await self._store.waiting()
        return False
