"""Forgets old events, finished jobs, their batches, hourly figures and the old end of the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from distriqueue.core.states import Status
from distriqueue.settings import DutySettings
from distriqueue.store.access import AuditStore
from distriqueue.store.retention import FIRST, NO_ID, RetentionStore
from distriqueue.store.statistics import StatisticsStore
from orchestrator.duties.duty import Outcome

DAY_S: Final = 86_400.0
WORKER_HOURS_S: Final = 30 * DAY_S
"""Hourly figures by worker: every start of a worker has rows of its own."""


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many seconds things are kept."""

    events_s: float
    jobs_s: Mapping[Status, float]
    hours_s: float
    audit_s: float

    @classmethod
    def of(cls, settings: DutySettings) -> Self:
        """Read the settings."""
        return cls(
            settings.keep_events_days * DAY_S,
            {
                Status.COMPLETED: settings.keep_completed_days * DAY_S,
                Status.CANCELLED: settings.keep_cancelled_days * DAY_S,
                Status.FAILED: settings.keep_failed_days * DAY_S,
                Status.TIMEOUT: settings.keep_failed_days * DAY_S,
            },
            settings.keep_statistics_days * DAY_S,
            settings.keep_audit_days * DAY_S,
        )


class Retention:
    """Cuts the logs at their old end, and walks batches by id and jobs from the oldest on; each run a bit of all.

    Jobs come last: an archive that takes none holds up nothing else. The walk over batches asks for no further run: it
    keeps up with that over their jobs.
    """

    name: Final = "retention"
    interval_s: Final = 60.0

    def __init__(
        self,
        store: RetentionStore,
        statistics: StatisticsStore,
        audit: AuditStore,
        kept: Kept,
        *,
        batch_events: int = 5_000,
        batch_jobs: int = 1_000,
        batch_rest: int = 1_000,
    ) -> None:
        self._store = store
        self._statistics = statistics
        self._audit = audit
        self._kept = kept
        self._batch_events = batch_events
        self._batch_jobs = batch_jobs
        self._batch_rest = batch_rest
        self._step = FIRST
        self._batch_id = NO_ID

    async def run(self, epoch: int) -> Outcome:
        """Drop one batch of each."""
        events = await self._store.drop_events(older_than_s=self._kept.events_s, limit=self._batch_events, epoch=epoch)
        hours = 0
        if events < self._batch_events and self._step == FIRST:
            hours = await self._statistics.forget_hours(
                counts_s=self._kept.hours_s, workers_s=min(self._kept.hours_s, WORKER_HOURS_S), epoch=epoch
            )
        audit = await self._audit.prune(older_than_s=self._kept.audit_s, limit=self._batch_rest, epoch=epoch)
        batches = await self._store.drop_batches(
            self._batch_id, older_than_s=min(self._kept.jobs_s.values()), limit=self._batch_rest, epoch=epoch
        )
        self._batch_id = batches.next or NO_ID
        jobs = await self._store.drop_jobs(self._kept.jobs_s, self._step, limit=self._batch_jobs, epoch=epoch)
        self._step = jobs.next or FIRST
        more = events == self._batch_events or audit == self._batch_rest or jobs.next is not None
        return Outcome(events + hours + audit + batches.batches + jobs.jobs, more=more)
