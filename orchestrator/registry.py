"""The workers that this node hears: heartbeats collected in memory, recorded in one statement per flush."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from distriqueue import lifecycle
from distriqueue.core.errors import StoreUnavailable, Unavailable
from distriqueue.core.messages import Heartbeat, HeartbeatAnswer
from distriqueue.core.retry import Uniform, backoff_s
from distriqueue.store.workers import Recorded, WorkerStore
from distriqueue.telemetry import get_logger
from orchestrator.recording import Recording

log = get_logger("registry")

FLUSH_S: Final = 0.25
"""A cancel waits at most this long, then for its worker's next beat (1 s): of 1.5 s, 0.25 s are left for latencies."""
FLUSH_TIMEOUT_S: Final = 2.0
STALE_S: Final = 3.0
"""Without a flush for so long, heartbeats are refused, so that workers turn to another node."""
MAX_WORKERS: Final = 20_000
"""Workers heard between two flushes; more are refused."""
MAX_BACKOFF_S: Final = 1.0
RETRY_AFTER_S: Final = 1.0


class FlushObserver(Protocol):
    """What is told of every flush, for the metrics."""

    def flushed(self, *, beats: int, duration_s: float) -> None:
        """Hear of a flush that was recorded."""

    def flush_failed(self) -> None:
        """Hear of one that was not."""


class Registry:
    """Takes heartbeats, and answers each with what the last flush learned."""

    def __init__(
        self,
        store: WorkerStore,
        *,
        observer: FlushObserver,
        rng: Uniform | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._observer = observer
        self._rng = rng or random.SystemRandom()
        self._clock = clock
        self._heard: dict[str, Heartbeat] = {}
        self._learned: Recorded | None = None
        self._recording: Recording | None = None
        self._recorded_at = -STALE_S
        self._failures = 0

    @property
    def recording(self) -> Recording | None:
        """Up to when, and since when without a gap, heartbeats are recorded; None before the first flush."""
        return self._recording

    @property
    def recorded_ago_s(self) -> float:
        """How long ago the last flush was recorded, by this process's clock, in seconds."""
        return self._clock() - self._recorded_at

    @property
    def is_recording(self) -> bool:
        """Whether what is heard now will be recorded, as far as anyone can tell."""
        return self._failures == 0 and self.recorded_ago_s < STALE_S

    def hear(self, beat: Heartbeat) -> HeartbeatAnswer | None:
        """Take a heartbeat and return what to tell the worker; None: nothing but thanks.

        Raises Unavailable when it could not be recorded: the worker is to try another node.
        """
        if not self.is_recording or self._learned is None:
            raise Unavailable("this node cannot record heartbeats at the moment", retry_after_s=RETRY_AFTER_S)
        if len(self._heard) >= MAX_WORKERS and beat.worker_id not in self._heard:
            raise Unavailable(f"this node hears {MAX_WORKERS} workers already", retry_after_s=RETRY_AFTER_S)
        self._heard[beat.worker_id] = beat
        cancel = self._learned.cancel.get(beat.worker_id)
        drain = beat.worker_id in self._learned.drain
        paused = self._learned.paused
        if not (cancel or drain or paused):
            return None
        return HeartbeatAnswer(cancel=list(cancel or ()), drain=drain, paused=list(paused))

    async def flush(self) -> None:
        """Record what was heard since the last flush, even if nothing was; StoreUnavailable."""
        beats, self._heard = self._heard, {}
        started = self._clock()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                recorded = await self._store.record(list(beats.values()))
        except (StoreUnavailable, TimeoutError) as exc:
            # A living worker repeats itself within a second; the last words of one that stopped come only once.
            self._heard = {key: beat for key, beat in beats.items() if beat.stopped} | self._heard
            self._failures += 1
            self._observer.flush_failed()
            if isinstance(exc, TimeoutError):
                raise StoreUnavailable(f"heartbeats were not recorded within {FLUSH_TIMEOUT_S} s") from exc
            raise
        self._learned = recorded
        self._recording = (
            self._recording.extended(recorded.at) if self._recording else Recording(recorded.at, recorded.at)
        )
        self._recorded_at = self._clock()
        self._failures = 0
        self._observer.flushed(beats=len(beats), duration_s=self._recorded_at - started)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until stopped, and once more then."""
        while not stop.is_set():
            pause_s = FLUSH_S
            try:
                await self.flush()
            except StoreUnavailable as exc:
                pause_s = backoff_s(self._failures, self._rng, cap_s=MAX_BACKOFF_S)
                log.warning("heartbeats_not_recorded", failures=self._failures, error=exc.message)
            await lifecycle.wait_for(stop, pause_s)
        try:
            await self.flush()
        except StoreUnavailable as exc:
            log.warning("last_heartbeats_lost", error=exc.message)
