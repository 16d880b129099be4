"""A `Client` without a server: what is submitted stays in memory, and runs when the test says so."""

import asyncio
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Final, Self, Unpack
from uuid import UUID

from distriqueue.core.errors import DistriQueueError, NotFound
from distriqueue.core.job import new_job_id
from distriqueue.core.states import TERMINAL, Status
from distriqueue.sdk.client import Client
from distriqueue.sdk.errors import JobNotCompleted, ResultTimeout
from distriqueue.sdk.handle import Batch, JobHandle, Page, not_completed
from distriqueue.sdk.job import Job
from distriqueue.sdk.mapping import IN_FLIGHT, checked
from distriqueue.sdk.models import BatchSnapshot, JobEvent, JobSnapshot
from distriqueue.sdk.submission import (
    EMPTY,
    BatchOptions,
    JobFilters,
    JobOptions,
    JobRef,
    JobType,
    NewJob,
    Payload,
    SharedOptions,
    batch_body,
    filter_query,
    id_of,
    job_body,
)
from distriqueue.testing.board import Board, Entry
from distriqueue.testing.runner import Handlers, run


class LocalJob(Job):
    """A job in memory: what a handle says of it is always how it is now."""

    __slots__ = ("_client", "_entry")

    def __init__(self, client: "LocalClient", entry: Entry) -> None:
        JobHandle.__init__(self, entry.seen)
        self._client = client
        self._entry = entry

    @property
    def job(self) -> JobSnapshot:
        """How it is now."""
        return self._entry.job

    @property
    def steps(self) -> tuple[tuple[float, str | None], ...]:
        """The progress that its attempts told: percent and message."""
        return tuple(self._entry.progress)

    @property
    def logs(self) -> tuple[Mapping[str, Any], ...]:
        """What its attempts logged by their context: `event`, `level`, and its fields."""
        return tuple(self._entry.logs)

    def refresh(self) -> Self:
        """Do nothing."""
        return self

    def wait(self, timeout: float | None = None) -> Self:  # noqa: ARG002 -- there is no time here
        """Run until nothing is left to run, whatever `timeout`; ResultTimeout when the job has not ended then."""
        if not self.is_finished:
            self._client.run_until_idle()
        if not self.is_finished:
            raise ResultTimeout(f"job {self.id} ({self.type}) is {self.job.status.value}, and nothing is left to run")
        return self

    def result(self, timeout: float | None = None) -> Any:
        """Run what it takes, and return the result; JobFailed and its like come `from` what the handler raised."""
        self.wait(timeout)
        if self.job.status is Status.COMPLETED:
            return self.job.result
        raise not_completed(self.job) from self._entry.cause

    def events(self) -> Generator[JobEvent]:
        """Run what it takes, and yield the job's story."""
        self.wait()
        yield from self._entry.events

    def cancel(self) -> Self:
        """Cancel it; Conflict when it has ended."""
        self._client.cancel(self)
        return self

    def retry(self) -> Self:
        """Let it run again; Conflict unless it failed, timed out or was cancelled."""
        self._client.retry(self)
        return self


class LocalClient(Client):
    """A `Client` for the code under test: `submit` and all else, in memory.

    Jobs run by the handlers of `registry` when somebody waits for one, or at `run_until_idle`; without a registry they
    are only kept, for `assert_submitted`. Retries, dependencies, lanes, unique and idempotency keys and batches count
    as they do in a stack. No time is waited for, and rate and concurrency limits, webhooks and expiry are not kept.
    """

    def __init__(self, registry: Handlers | None = None) -> None:
        self._registry: Final = registry
        self._board: Final = Board()

    def close(self) -> None:
        """Do nothing."""

    @property
    def jobs(self) -> tuple[LocalJob, ...]:
        """All jobs, in the order in which they were submitted."""
        return tuple(LocalJob(self, entry) for entry in self._board)

    def run_until_idle(self) -> None:
        """Run jobs, and what they submit, until none is left that could run.

        DistriQueueError without a registry, or where an event loop runs; AssertionError when there is no end.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self.run_until_idle_async())
            return
        raise DistriQueueError(
            "an event loop runs here: await run_until_idle_async() instead, and then ask for results"
        )

    async def run_until_idle_async(self) -> None:
        """As `run_until_idle`, in the event loop that runs."""
        if self._registry is None:
            raise DistriQueueError("nothing runs these jobs: give the client your registry, LocalClient(registry)")
        await run(self._board, self._registry)

    def submit(
        self,
        job: JobType,
        payload: Payload = EMPTY,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> LocalJob:
        """Keep a job; InvalidRequest, TypeError and Conflict as of `Client.submit`, as far as that is known here."""
        (entry,) = self._board.submit([job_body(job, payload, options)], idempotency_key=idempotency_key)
        return LocalJob(self, entry)

    def submit_many(
        self, jobs: Iterable[NewJob], *, idempotency_key: str | None = None, **options: Unpack[BatchOptions]
    ) -> Batch[Job]:
        """Keep jobs together."""
        body = batch_body(tuple(jobs), options)
        entries = self._board.submit(
            body["jobs"],
            batch_id=new_job_id(),
            stop_on_failure=body.get("stopOnFailure", False),
            sequential=body.get("sequential", False),
            idempotency_key=idempotency_key,
        )
        return Batch(entries[0].job.batch_id, tuple(LocalJob(self, entry) for entry in entries), ())

    def get(self, job: JobRef) -> LocalJob:
        """Return a job; NotFound."""
        return LocalJob(self, self._board.get(UUID(id_of(job))))

    def get_batch(self, batch: UUID | str) -> BatchSnapshot:
        """Return how far a batch is; NotFound."""
        jobs = [entry.job for entry in self._board if str(entry.job.batch_id) == id_of(batch)]
        if not jobs:
            raise NotFound(f"there is no batch {batch}")
        ended = sum(job.status in TERMINAL for job in jobs)
        return BatchSnapshot(
            id=UUID(id_of(batch)),
            total_jobs=len(jobs),
            by_status=Counter(job.status.value for job in jobs),
            finished=ended == len(jobs),
            progress=100 * ended / len(jobs),
            created_at=jobs[0].created_at,
        )

    def list(self, *, size: int = 20, cursor: str | None = None, **filters: Unpack[JobFilters]) -> Page[Job]:
        """Return a page of the jobs that match, newest first."""
        jobs = tuple(self.iterate(**filters))
        start = int(cursor or 0)
        following = str(start + size) if start + size < len(jobs) else None
        return Page(jobs[start : start + size], len(jobs), total_is_estimate=False, next_cursor=following)

    def iterate(self, **filters: Unpack[JobFilters]) -> Generator[LocalJob]:
        """Yield the jobs that match, newest first; by `status`, `type`, `priority`, `tag` and `batch`."""
        wanted = {name: _texts(value) for name, value in filter_query(filters).items()}
        unknown = wanted.keys() - {"status", "type", "priority", "tag", "batch"}
        if unknown:
            raise TypeError(f"no filter of jobs in memory: {', '.join(sorted(unknown))}")
        for job in reversed(self.jobs):
            if all(_matches(job.job, name, values) for name, values in wanted.items()):
                yield job

    def cancel(self, job: JobRef) -> LocalJob:
        """Cancel a job; NotFound, Conflict."""
        found = self.get(job)
        self._board.cancel(found._entry)
        return found

    def retry(self, job: JobRef) -> LocalJob:
        """Let a job run again; NotFound, Conflict."""
        found = self.get(job)
        self._board.retry(found._entry)
        return found

    def events(
        self,
        *,
        type: str | Iterable[str] | None = None,  # noqa: A002 -- as the filter is called everywhere
        status: Status | str | Iterable[Status | str] | None = None,
        batch: UUID | str | None = None,
        after: int | None = None,
    ) -> Generator[JobEvent]:
        """Yield what was until now, after the event with the id `after`, and end."""
        query = filter_query({"type": type, "status": status, "batch": batch}).items()
        wanted = {name: _texts(value) for name, value in query if value is not None}
        events = sorted((event for entry in self._board for event in entry.events), key=lambda event: event.id)
        for event in events:
            facts = {"type": event.type, "status": event.status.value, "batch": str(event.batch_id)}
            if event.id > (after or 0) and all(facts[name] in values for name, values in wanted.items()):
                yield event

    def map(
        self,
        job: JobType,
        payloads: Iterable[Payload],
        *,
        progress: bool = True,  # noqa: ARG002 -- it is over before it could be seen
        timeout: float | None = None,
        return_exceptions: bool = False,
        in_flight: int = IN_FLIGHT,  # noqa: ARG002 -- all of them
        **options: Unpack[SharedOptions],
    ) -> Generator[Any]:
        """Run a job for each payload, and yield the results in order."""
        jobs = [self.submit(job, payload, **options) for payload in payloads]
        for each in jobs:
            try:
                result = each.result(timeout)
            except JobNotCompleted as exc:
                result = exc
            yield checked(result, return_exceptions=return_exceptions)


def run_until_idle(registry: Handlers, *jobs: NewJob) -> tuple[LocalJob, ...]:
    """Run these jobs by the registry's handlers, with retries and dependencies, until none is left; return them.

    They may name each other by an `id` that you give them. Raises what is wrong with a job as `Client.submit` does, and
    AssertionError when there is no end; how a job ended, its `status` says, and its `result()`.
    """
    client = LocalClient(registry)
    entries = client._board.submit([job.body for job in jobs])
    client.run_until_idle()
    return tuple(LocalJob(client, entry) for entry in entries)


async def run_until_idle_async(registry: Handlers, *jobs: NewJob) -> tuple[LocalJob, ...]:
    """As `run_until_idle`, in the event loop that runs."""
    client = LocalClient(registry)
    entries = client._board.submit([job.body for job in jobs])
    await client.run_until_idle_async()
    return tuple(LocalJob(client, entry) for entry in entries)


def _texts(value: object) -> frozenset[str]:
    values = value if isinstance(value, list | tuple) else (value,)
    return frozenset(str(each) for each in values)


def _matches(job: JobSnapshot, name: str, values: frozenset[str]) -> bool:
    match name:
        case "status":
            return job.status.value in {value.lower() for value in values}
        case "priority":
            return job.priority.value in {value.upper() for value in values}
        case "tag":
            return values <= set(job.tags)
        case "batch":
            return str(job.batch_id) in values
        case _:
            return job.type in values
