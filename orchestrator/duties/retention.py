"""Forgets old events, finished jobs and hourly figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from distriqueue.core.states import Status
from distriqueue.settings import DutySettings
from distriqueue.store.retention import FIRST, RetentionStore
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
        )


class Retention:
    """Cuts the event log at its old end, and walks the jobs from the oldest on; each run a batch of both."""

    name: Final = "retention"
    interval_s: Final = 60.0

    def __init__(
        self,
        store: RetentionStore,
        statistics: StatisticsStore,
        kept: Kept,
        *,
        batch_events: int = 5_000,
        batch_jobs: int = 1_000,
    ) -> None:
        self._store = store
        self._statistics = statistics
        self._kept = kept
        self._batch_events = batch_events
        self._batch_jobs = batch_jobs
        self._step = FIRST

    async def run(self, epoch: int) -> Outcome:
        """Drop one batch of each."""
        events = await self._store.drop_events(older_than_s=self._kept.events_s, limit=self._batch_events, epoch=epoch)
        jobs = await self._store.drop_jobs(self._kept.jobs_s, self._step, limit=self._batch_jobs, epoch=epoch)
        self._step = jobs.next or FIRST
        more = events == self._batch_events or jobs.next is not None
        hours = 0
        if not more:
            hours = await self._statistics.forget_hours(
                counts_s=self._kept.hours_s, workers_s=min(self._kept.hours_s, WORKER_HOURS_S), epoch=epoch
            )
        return Outcome(events + jobs.jobs + hours, more=more)
