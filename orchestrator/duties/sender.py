"""Sends dispatches and marks them `queued`, for the duties; never one that is on its way, or whose lane rests."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from distriqueue.core.errors import Fenced
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import Broker
from distriqueue.store.jobs import JobStore
from distriqueue.store.routing import Routing
from distriqueue.telemetry.metrics import OnPublished, unseen
from distriqueue.telemetry.tracing import Tracing, ago_ns

MAX_UNMARKED: Final = 5_000

_Key = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class Sent:
    """How many dispatches were offered to the broker, and how many it confirmed."""

    offered: int
    confirmed: int


class Sender:
    """One per process. If it dies between confirm and mark, a dispatch is sent twice, and the claim sorts that out."""

    def __init__(
        self,
        broker: Broker,
        jobs: JobStore,
        routing: Routing | None = None,
        *,
        on_published: OnPublished = unseen,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._broker = broker
        self._on_published = on_published
        self._jobs = jobs
        self._routing = routing
        self._in_flight: set[_Key] = set()
        self._unmarked: dict[_Key, Dispatch] = {}
        """Confirmed by the broker while Postgres was away: to be marked, not to be sent again."""

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._broker.connected

    async def send(self, dispatches: Sequence[Dispatch], *, epoch: int) -> Sent:
        """Publish, and mark what was confirmed. Raises StoreUnavailable, Fenced."""
        if self._routing is not None:
            dispatches = (await self._routing.fresh()).open(dispatches)
        fresh = [each for each in dispatches if self._is_new(_key(each))]
        keys = {_key(each) for each in fresh}
        self._in_flight |= keys
        try:
            confirmed = await self._publish(fresh) if fresh else []
            for each in confirmed[: MAX_UNMARKED - len(self._unmarked)]:
                self._unmarked[_key(each)] = each
        finally:
            self._in_flight -= keys
        await self.mark(epoch=epoch)
        return Sent(len(fresh), len(confirmed))

    async def offer(self, dispatches: Sequence[Dispatch], *, epoch: int) -> None:
        """Send what became pending if the broker is there; what is not sent the dispatcher sends."""
        if dispatches and self.connected:
            await self.send(dispatches, epoch=epoch)

    async def mark(self, *, epoch: int) -> None:
        """Mark what was confirmed and is not marked yet. Raises StoreUnavailable, Fenced."""
        batch = list(self._unmarked.values())
        if not batch:
            return
        try:
            await self._jobs.mark_queued(batch, epoch=epoch)
        except Fenced:
            self._forget(batch)  # the next leader sends them again
            raise
        self._forget(batch)

    async def _publish(self, fresh: Sequence[Dispatch]) -> list[Dispatch]:
        began_at = time.monotonic()
        held = await self._broker.publish(fresh)
        took_s = time.monotonic() - began_at
        confirmed = [each for each, is_held in zip(fresh, held, strict=True) if is_held]
        self._on_published(len(confirmed), len(fresh) - len(confirmed), took_s)
        if self._tracing is not None:
            self._tracing.sent(fresh, held, began_ns=ago_ns(took_s))
        return confirmed

    def _is_new(self, key: _Key) -> bool:
        return key not in self._in_flight and key not in self._unmarked

    def _forget(self, batch: Sequence[Dispatch]) -> None:
        for each in batch:
            self._unmarked.pop(_key(each), None)


def _key(dispatch: Dispatch) -> _Key:
    return dispatch.job_id, dispatch.attempt
