"""Workers' reports on their way into Postgres."""

from collections.abc import Callable, Sequence
from typing import Final

from distriqueue import failpoints
from distriqueue.core.errors import DistriQueueError
from distriqueue.core.messages import Report, ReportAnswer
from distriqueue.store.reports import ReportStore
from gateway.group_commit import GroupCommit
from gateway.publisher import Publisher

MAX_BATCH: Final = 1_000
MAX_WAITING: Final = 50_000


class Reports:
    """Applies reports by group commit and answers each in its place."""

    def __init__(self, store: ReportStore, publisher: Publisher, *, committed: Callable[[], None]) -> None:
        self._store = store
        self._publisher = publisher
        self._committed = committed
        self.commits: GroupCommit[Sequence[Report], list[ReportAnswer]] = GroupCommit(
            self._commit, name="reports", max_waiting=MAX_WAITING, max_batch=MAX_BATCH
        )

    async def apply(self, reports: Sequence[Report]) -> list[ReportAnswer]:
        """Return the answers in the order of the reports; Overloaded, StoreUnavailable: then send all again."""
        return await self.commits.submit(reports, weight=len(reports)) if reports else []

    async def _commit(self, units: list[Sequence[Report]]) -> Sequence[list[ReportAnswer] | DistriQueueError]:
        applied = await self._store.apply([report for unit in units for report in unit])
        failpoints.hit("gateway.after_apply")
        self._committed()
        self._publisher.offer(applied.ready)
        answers = iter(applied.answers)
        return [[next(answers) for _ in unit] for unit in units]
