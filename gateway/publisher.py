"""Sends dispatches to the broker as soon as their jobs are committed, and marks `queued` what then waits for a while.

Best effort by design: what cannot be sent now stays `pending` in Postgres, and the leader's dispatcher sends it. So the
queue here is bounded, and a broker that is down costs nothing but the try.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from distriqueue import failpoints
from distriqueue.core.errors import StoreUnavailable
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import Broker
from distriqueue.lifecycle import wait_for
from distriqueue.store.jobs import JobStore
from distriqueue.store.routing import Routing
from distriqueue.telemetry import get_logger
from distriqueue.telemetry.metrics import OnPublished, unseen
from distriqueue.telemetry.tracing import Tracing, ago_ns

log = get_logger("publisher")

BATCH: Final = 500
QUEUE: Final = 20_000
LOOPS: Final = 2
MARK_AFTER_S: Final = 0.25
"""Most jobs have been claimed by then, and need no mark. The dispatcher gives a gateway four times as long."""


class Publisher:
    """A bounded queue of dispatches and the loops that empty it."""

    def __init__(
        self,
        broker: Broker,
        store: JobStore,
        routing: Routing,
        *,
        mark_after_s: float = MARK_AFTER_S,
        on_published: OnPublished = unseen,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._broker = broker
        self._store = store
        self._routing = routing
        self._mark_after_s = mark_after_s
        self._on_published = on_published
        self._queue: deque[Dispatch] = deque()
        self._arrived = asyncio.Event()
        self._stopping = False
        self._sent: deque[tuple[float, Dispatch]] = deque(maxlen=QUEUE)
        """Confirmed by the broker, and when; what is pushed out is sent again by the dispatcher."""
        self._confirmed = asyncio.Event()
        self._all_sent = asyncio.Event()
        self.left_to_dispatcher = 0
        """Dispatches given up here since the start: the leader's dispatcher sends them."""

    @property
    def waiting(self) -> int:
        """How many dispatches wait to be sent."""
        return len(self._queue)

    def offer(self, dispatches: Iterable[Dispatch]) -> None:
        """Queue dispatches whose jobs are committed; what does not fit is left to the dispatcher."""
        room = QUEUE - len(self._queue)
        offered = list(dispatches)
        self._queue.extend(offered[:room])
        self._leave(len(offered) - room)
        self._arrived.set()

    async def run(self) -> None:
        """Send until `stop`; then send and mark what is left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_marks())
            await asyncio.wait([group.create_task(self._run_one()) for _ in range(LOOPS)])
            self._all_sent.set()
            self._confirmed.set()

    def stop(self) -> None:
        """Let `run` return once the queue is empty."""
        self._stopping = True
        self._arrived.set()

    async def _run_one(self) -> None:
        while True:
            await self._arrived.wait()
            while self._queue:
                await self._send([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])
            if self._stopping:
                return
            self._arrived.clear()

    async def _send(self, batch: list[Dispatch]) -> None:
        batch = (await self._routing.fresh()).open(batch)  # jobs of a paused lane stay `pending` until it goes on
        if not batch:
            return
        failpoints.hit("gateway.before_publish")
        began_at = time.monotonic()
        held = await self._broker.publish(batch)
        took_s = time.monotonic() - began_at
        confirmed = [dispatch for dispatch, is_held in zip(batch, held, strict=True) if is_held]
        self._on_published(len(confirmed), len(batch) - len(confirmed), took_s)
        if self._tracing is not None:
            self._tracing.sent(batch, held, began_ns=ago_ns(took_s))
        self._leave(len(batch) - len(confirmed))
        failpoints.hit("gateway.before_mark")
        now = asyncio.get_running_loop().time()
        self._sent.extend((now, dispatch) for dispatch in confirmed)
        self._confirmed.set()

    async def _run_marks(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await self._confirmed.wait()
            while self._sent:
                if (early_s := self._sent[0][0] + self._mark_after_s - now()) > 0:
                    await wait_for(self._all_sent, early_s)
                await self._mark(self._take_due(now() - self._mark_after_s))
            if self._all_sent.is_set():
                return
            self._confirmed.clear()

    def _take_due(self, sent_by_s: float) -> list[Dispatch]:
        due: list[Dispatch] = []
        while self._sent and len(due) < BATCH and (self._sent[0][0] <= sent_by_s or self._all_sent.is_set()):
            due.append(self._sent.popleft()[1])
        return due

    async def _mark(self, batch: list[Dispatch]) -> None:
        if not batch:
            return
        try:
            await self._store.mark_queued(batch)
        except StoreUnavailable as exc:
            # They stay `pending` although sent; sent again, the second dispatch of each is refused by its claim.
            log.warning("mark_queued_failed", jobs=len(batch), error=str(exc))

    def _leave(self, dispatches: int) -> None:
        if dispatches > 0:
            self.left_to_dispatcher += dispatches
            log.warning("left_to_dispatcher", jobs=dispatches)
