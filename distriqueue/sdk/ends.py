"""Which jobs may have ended: one event stream per job type, shared by all that wait.

Whoever waits is told "look" and not "it has ended": by the stream when it has, when the stream begins, and after a gap.
So what is true is always read from the gateway, and nothing that was missed can make anybody wait for ever.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Final, Protocol
from uuid import UUID

from distriqueue.core.errors import DistriQueueError
from distriqueue.core.retry import Uniform
from distriqueue.core.states import TERMINAL
from distriqueue.sdk.background import Background
from distriqueue.sdk.models import JobEvent
from distriqueue.sdk.stream import follow
from distriqueue.sdk.transport import AsyncTransport

LINGER_S: Final = 5.0
"""A stream that nobody needs is kept so long: those who wait for one job after the other need it again."""
_TERMINAL: Final = sorted(TERMINAL)


class Waiter(Protocol):
    """Who waits for some jobs of a type."""

    def look(self, job_id: UUID) -> None:
        """The job may have ended: read it."""

    def lost(self, error: DistriQueueError) -> None:
        """There is no stream any more, and why."""


class Ends:
    """The streams, by job type."""

    def __init__(
        self,
        transport: AsyncTransport,
        background: Background,
        *,
        retry_for_s: float,
        rng: Uniform,
        linger_s: float = LINGER_S,
    ) -> None:
        self._transport = transport
        self._retry_for_s = retry_for_s
        self._rng = rng
        self._linger_s = linger_s
        self._background = background
        self._watches: dict[str, Watch] = {}

    @contextlib.asynccontextmanager
    async def watch(self, type_: str) -> AsyncIterator["Watch"]:
        """Yield a stream of the type that has begun; raises what `follow` does."""
        watch = self._watches.get(type_)
        if watch is None or watch.is_over:
            watch = self._watches[type_] = self._new(type_)
            watch.task = self._background.start(watch.run())
        watch.hold()
        try:
            await watch.begun()
            yield watch
        finally:
            watch.release()

    def _new(self, type_: str) -> "Watch":
        return Watch(type_, self._transport, retry_for_s=self._retry_for_s, rng=self._rng, linger_s=self._linger_s)


class Watch:
    """One stream, and who is to be told of which job."""

    def __init__(
        self, type_: str, transport: AsyncTransport, *, retry_for_s: float, rng: Uniform, linger_s: float
    ) -> None:
        self._type = type_
        self._transport = transport
        self._retry_for_s = retry_for_s
        self._rng = rng
        self._linger_s = linger_s
        self._waiters: dict[UUID, set[Waiter]] = {}
        self._begun = asyncio.Event()
        self._holders = 0
        self._idle: asyncio.TimerHandle | None = None
        self._error: DistriQueueError | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it tells nothing any more."""
        return self._error is not None

    async def begun(self) -> None:
        """Wait until the stream is there; raises why it is not."""
        await self._begun.wait()  # bounded by the stream's own patience
        if self._error is not None:
            raise self._error

    def add(self, job_ids: Iterable[UUID], waiter: Waiter) -> None:
        """Tell the waiter of these from now on; what was before, it has to read."""
        for job_id in job_ids:
            self._waiters.setdefault(job_id, set()).add(waiter)
        if self._error is not None:
            waiter.lost(self._error)

    def discard(self, job_ids: Iterable[UUID], waiter: Waiter) -> None:
        """Tell it no more."""
        for job_id in job_ids:
            waiters = self._waiters.get(job_id)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[job_id]

    def hold(self) -> None:
        """One more needs the stream."""
        self._holders += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def release(self) -> None:
        """One less does."""
        self._holders -= 1
        if not self._holders:
            self._idle = asyncio.get_running_loop().call_later(self._linger_s, self._end)

    async def run(self) -> None:
        """Follow the stream until nobody needs it, or it cannot be had."""
        query: dict[str, object] = {"status": _TERMINAL}
        # The gateway takes commas between types, and spaces around them: such a type is sorted out here.
        if "," not in self._type and self._type == self._type.strip():
            query["type"] = self._type
        news = follow(self._transport, query, retry_for_s=self._retry_for_s, rng=self._rng)
        try:
            async with contextlib.aclosing(news):
                async for item in news:
                    self._tell((item.job_id,) if isinstance(item, JobEvent) else tuple(self._waiters))
                    self._begun.set()
        except DistriQueueError as exc:
            self._fail(exc)
        finally:
            if self._error is None:
                self._fail(DistriQueueError("the client was closed"))
            self._begun.set()

    def _tell(self, job_ids: Iterable[UUID]) -> None:
        for job_id in job_ids:
            for waiter in tuple(self._waiters.get(job_id, ())):
                waiter.look(job_id)

    def _fail(self, error: DistriQueueError) -> None:
        self._error = error
        for waiter in {waiter for waiters in self._waiters.values() for waiter in waiters}:
            waiter.lost(error)

    def _end(self) -> None:
        self._error = DistriQueueError("nobody needed this stream")  # whoever comes now opens another
        if self.task is not None:
            self.task.cancel()
