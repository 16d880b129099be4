"""A job's handle for code that blocks."""

from collections.abc import Generator
from typing import Any, Self

from distriqueue.sdk.async_job import AsyncJob
from distriqueue.sdk.handle import JobHandle
from distriqueue.sdk.models import JobEvent
from distriqueue.sdk.portal import Portal


class Job(JobHandle):
    """A job, to wait for; usable from any thread."""

    __slots__ = ("_job", "_portal")

    def __init__(self, portal: Portal, job: AsyncJob) -> None:
        super().__init__(job._seen)
        self._portal = portal
        self._job = job

    def refresh(self) -> Self:
        """See how it is now; NotFound when retention has deleted it."""
        self._portal.run(self._job.refresh())
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, however, for at most `timeout` seconds; errors as of `result`, but for its end."""
        if not self.has_outcome:
            self._portal.run(self._job.wait(timeout))
        return self

    def result(self, timeout: float | None = None) -> Any:
        """Wait until it has ended, for at most `timeout` seconds, and return its result.

        It hears of the end over the event stream, which may be cut and resumed meanwhile. Raises JobFailed, JobTimedOut
        or JobCancelled when there is no result, ResultTimeout when the job goes on, NotFound when it was deleted, and
        Unavailable when the gateway could not be reached for the client's `retry_for_s`.
        """
        return self.wait(timeout).outcome()

    def events(self) -> Generator[JobEvent]:
        """Yield its story in order, each event once: what was, and then live, until it has ended."""
        return self._portal.iterate(self._job.events())

    def cancel(self) -> Self:
        """Cancel it at once while it waits, or tell its worker when it runs. Conflict when it has ended."""
        self._portal.run(self._job.cancel())
        return self

    def retry(self) -> Self:
        """Run it again, in place; Conflict unless it failed, timed out or was cancelled."""
        self._portal.run(self._job.retry())
        return self
