"""Workers' reports on their way into Postgres."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from distriqueue import failpoints
from distriqueue.core.errors import DistriQueueError
from distriqueue.core.messages import Report, ReportAnswer
from distriqueue.store.reports import ReportStore
from gateway.group_commit import GroupCommit, OnCommit, untold
from gateway.publisher import Publisher

MAX_BATCH: Final = 1_000
MAX_WAITING: Final = 50_000

OnAnswers: TypeAlias = Callable[[Sequence[Report], Sequence[ReportAnswer]], None]
"""Told of each batch and its answers, in the same order."""


def unheard(_reports: Sequence[Report], _answers: Sequence[ReportAnswer]) -> None:
    """Nobody wants to know of answers."""


class Reports:
    """Applies reports by group commit and answers each in its place."""

    def __init__(
        self,
        store: ReportStore,
        publisher: Publisher,
        *,
        committed: Callable[[], None],
        on_answers: OnAnswers = unheard,
        on_commit: OnCommit = untold,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._committed = committed
        self._on_answers = on_answers
        self.commits: GroupCommit[Sequence[Report], list[ReportAnswer]] = GroupCommit(
            self._commit, name="reports", max_waiting=MAX_WAITING, max_batch=MAX_BATCH, on_commit=on_commit
        )

    async def apply(self, reports: Sequence[Report]) -> list[ReportAnswer]:
        """Return the answers in the order of the reports; Overloaded, StoreUnavailable: then send all again."""
        return await self.commits.submit(reports, weight=len(reports)) if reports else []

    async def _commit(self, units: list[Sequence[Report]]) -> Sequence[list[ReportAnswer] | DistriQueueError]:
        reports = [report for unit in units for report in unit]
        applied = await self._store.apply(reports)
        failpoints.hit("gateway.after_apply")
        self._committed()
        self._publisher.offer(applied.ready)
        self._on_answers(reports, applied.answers)
        answers = iter(applied.answers)
        return [[next(answers) for _ in unit] for unit in units]
