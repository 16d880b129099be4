"""Ends what runs on silent, stopped and unknown workers, and what runs too long."""

from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from distriqueue.core.states import Status
from distriqueue.store.duties import DutyStore, Reaped
from distriqueue.telemetry import get_logger
from orchestrator.duties.duty import Outcome
from orchestrator.duties.sender import Sender
from orchestrator.recording import Recording

log = get_logger("reaper")

GRACE_S: Final = 10.0
"""What a worker gets beyond an attempt's timeout, to end and report it itself."""
UNHEARD_S: Final = 5.0
"""What a worker gets beyond the silence of others, from its first claim to its first heartbeat."""


class Records(Protocol):
    """Where heartbeats are recorded."""

    @property
    def recording(self) -> Recording | None:
        """Up to when, and since when without a gap; None before the first."""


def _unseen(_reaped: Reaped) -> None:
    """Nobody wants to know what was ended."""


class Reaper:
    """Judges a worker silent only by a whole window in which heartbeats were recorded and it had no part.

    The window begins anew after every gap in the recording and after every claim of leadership (in the SQL), so that an
    outage of ours (of this process, its machine or Postgres) never ends what healthy workers run.
    """

    name: Final = "reaper"
    interval_s: Final = 0.5

    def __init__(
        self,
        store: DutyStore,
        records: Records,
        sender: Sender,
        *,
        worker_timeout_s: float,
        batch: int = 500,
        on_reaped: Callable[[Reaped], None] = _unseen,
    ) -> None:
        self._store = store
        self._sender = sender
        self._records = records
        self._worker_timeout_s = worker_timeout_s
        self._batch = batch
        self._on_reaped = on_reaped

    async def run(self, epoch: int) -> Outcome:
        """Reap one batch of each kind, or wait for the window."""
        recording = self._records.recording
        if recording is None:
            return Outcome(0, note="no heartbeats were recorded yet")
        missing_s = self._worker_timeout_s - recording.unbroken_s
        if missing_s > 0:
            return Outcome(0, next_in_s=missing_s, note="waits for a window without a gap in recording heartbeats")
        reaped = await self._store.reap(
            recorded_at=recording.at,
            silence_s=self._worker_timeout_s,
            unheard_s=UNHEARD_S,
            grace_s=GRACE_S,
            limit=self._batch,
            epoch=epoch,
        )
        _tell(reaped)
        self._on_reaped(reaped)
        await self._sender.offer(reaped.ready, epoch=epoch)
        parts = (reaped.silent, reaped.lost, reaped.overdue)
        return Outcome(sum(map(len, parts)), more=max(map(len, parts)) == self._batch)


def _tell(reaped: Reaped) -> None:
    for worker_id in reaped.silent:
        log.warning("worker_unresponsive", worker_id=worker_id)
    for worker_id, jobs in Counter(each.worker_id for each in reaped.lost).items():
        log.warning("attempts_lost", worker_id=worker_id, jobs=jobs)
    for each in (*reaped.lost, *reaped.overdue):
        if each.status is not Status.RETRYING:
            log.warning("job_given_up", job_id=str(each.job_id), attempt=each.attempt, status=each.status.value)
    if reaped.overdue:
        log.warning("attempts_overdue", jobs=len(reaped.overdue))
