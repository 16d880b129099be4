"""Sums the event log up into hourly figures and current totals."""

from collections.abc import Callable, Sequence
from typing import Final

from distriqueue.store.statistics import Ceiling, StatisticsStore, Steps
from orchestrator.duties.duty import Outcome

SETTLE_S: Final = 0.1
"""How soon to look again whether older transactions have ended."""


def _unseen(_steps: Sequence[Steps]) -> None:
    """Nobody wants to know of steps."""


class Statistics:
    """Finds how far the log reaches, waits until nothing can be added below that, and sums up to there."""

    name: Final = "statistics"
    interval_s: Final = 1.0

    def __init__(
        self,
        store: StatisticsStore,
        *,
        batch: int = 20_000,
        bounds_s: Sequence[float] = (),
        on_steps: Callable[[Sequence[Steps]], None] = _unseen,
    ) -> None:
        """`on_steps` is told of the steps that were summed up, with times by the buckets between the bounds."""
        self._store = store
        self._bounds_s = bounds_s
        self._on_steps = on_steps
        self._batch = batch
        self._ceiling: Ceiling | None = None

    async def run(self, epoch: int) -> Outcome:
        """Sum up one batch."""
        self._ceiling = self._ceiling or await self._store.ceiling()
        if self._ceiling is None:
            return Outcome(0)
        if not await self._store.is_settled(self._ceiling):
            return Outcome(0, next_in_s=SETTLE_S, note="waits for an older transaction to end")
        rolled = await self._store.roll_up(self._ceiling.seq, limit=self._batch, epoch=epoch, bounds_s=self._bounds_s)
        self._on_steps(rolled.steps)
        more = rolled.until < self._ceiling.seq
        if not more:
            self._ceiling = None
        return Outcome(rolled.numbers, more=more)
