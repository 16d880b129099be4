"""A job's handle for one event loop; `distriqueue.sdk.job` is the same for code that blocks."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Self
from uuid import UUID

from distriqueue.core.errors import DistriQueueError
from distriqueue.sdk.errors import ResultTimeout
from distriqueue.sdk.handle import JobHandle, Seen
from distriqueue.sdk.models import JobEvent, read
from distriqueue.sdk.session import Session


class AsyncJob(JobHandle):
    """A job, to `await`."""

    __slots__ = ("_session",)

    def __init__(self, session: Session, seen: Seen) -> None:
        super().__init__(seen)
        self._session = session

    async def refresh(self) -> Self:
        """See how it is now; NotFound when retention has deleted it."""
        return self._saw(await self._session.transport.call("GET", f"/api/jobs/{self.id}"))

    async def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, however, for at most `timeout` seconds; errors as of `result`, but for its end."""
        if not self.has_outcome:
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    await self._until_ended()
            except TimeoutError:
                if not limit.expired():
                    raise
                raise ResultTimeout(f"job {self.id} ({self.type}) has not ended within {timeout:g} s") from None
        return self

    async def result(self, timeout: float | None = None) -> Any:
        """Wait until it has ended, for at most `timeout` seconds, and return its result.

        It hears of the end over the event stream, which may be cut and resumed meanwhile. Raises JobFailed, JobTimedOut
        or JobCancelled when there is no result, ResultTimeout when the job goes on, NotFound when it was deleted, and
        Unavailable when the gateway could not be reached for the client's `retry_for_s`.
        """
        return (await self.wait(timeout)).outcome()

    async def events(self) -> AsyncGenerator[JobEvent]:
        """Yield its story in order, each event once: what was, and then live, until it has ended."""
        seen = 0
        async with contextlib.aclosing(self._session.follow({"jobId": self.id})) as news:
            async for item in news:
                told = [item] if isinstance(item, JobEvent) else await self._timeline(after=seen)
                for event in told:
                    if event.id > seen:
                        seen = event.id
                        yield event
                if told and told[-1].is_end:
                    return

    async def cancel(self) -> Self:
        """Cancel it at once while it waits, or tell its worker when it runs. Conflict when it has ended."""
        return self._saw(await self._session.transport.call("POST", f"/api/jobs/{self.id}/cancel"))

    async def retry(self) -> Self:
        """Run it again, in place; Conflict unless it failed, timed out or was cancelled."""
        return self._saw(await self._session.transport.call("POST", f"/api/jobs/{self.id}/retry"))

    async def _until_ended(self) -> None:
        bell = _Bell()
        async with self._session.ends.watch(self.type) as watch:
            watch.add((self.id,), bell)
            try:
                while not (await self.refresh()).is_finished:
                    await bell.rung()
            finally:
                watch.discard((self.id,), bell)

    async def _timeline(self, *, after: int) -> list[JobEvent]:
        events: list[JobEvent] = []
        more = True
        while more:
            query = {"after": events[-1].id if events else after}
            answer = await self._session.transport.ask("GET", f"/api/jobs/{self.id}/events", query=query)
            events += [read(JobEvent, each) for each in answer.body]
            more = "link" in answer.headers
        return events


class _Bell:
    """Rings when a job may have ended."""

    def __init__(self) -> None:
        self._rings = asyncio.Event()
        self._error: DistriQueueError | None = None

    def look(self, _job_id: UUID) -> None:
        """Ring."""
        self._rings.set()

    def lost(self, error: DistriQueueError) -> None:
        """Ring, and say that it rings no more."""
        self._error = error
        self._rings.set()

    async def rung(self) -> None:
        """Wait until it rings, or has rung since; raises why it never will."""
        await self._rings.wait()  # the caller's `timeout` bounds it
        self._rings.clear()
        if self._error is not None:
            raise self._error
