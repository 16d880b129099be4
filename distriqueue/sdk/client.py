"""The client for code that blocks: the face of an `AsyncClient` that runs in a thread of its own."""

from collections.abc import Callable, Generator, Iterable, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Self, TypeVar, Unpack, overload
from uuid import UUID

from distriqueue.core.states import Status
from distriqueue.sdk.async_client import RETRY_FOR_S, AsyncClient, count_of
from distriqueue.sdk.async_job import AsyncJob
from distriqueue.sdk.handle import Batch, Page
from distriqueue.sdk.job import Job
from distriqueue.sdk.mapping import CHUNK, IN_FLIGHT, checked
from distriqueue.sdk.models import BatchSnapshot, JobEvent
from distriqueue.sdk.portal import Portal
from distriqueue.sdk.progress import progress_bar
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
    job_body,
    type_of,
)
from distriqueue.sdk.transport import TIMEOUT_S

PayloadT = TypeVar("PayloadT")


class Client:
    """Submits jobs and follows them; usable from any thread, also where an event loop runs (in a notebook).

        with Client() as client:
            print(client.submit("resize", {"width": 80}).result(timeout=60))

    Where it calls, and as whom: `url` or DISTRIQUEUE_URL (http://127.0.0.1:8080), `api_key` or DISTRIQUEUE_API_KEY.
    A gateway that does not answer is asked again for `retry_for_s` seconds where that is safe, and to submit is safe:
    each submission has an idempotency key. Besides what is said there, any call may raise Unauthorized, Forbidden,
    RateLimited, Unavailable (GatewayUnreachable when nobody answers) and UnexpectedAnswer.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        """Open it; `timeout_s` is for one answer. BadSetting names what is wrong with an address or a key."""
        self._client = AsyncClient(url, api_key=api_key, timeout_s=timeout_s, retry_for_s=retry_for_s)
        self._portal = Portal(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections, and end its thread."""
        self._portal.close()

    @overload
    def submit(
        self,
        job: Callable[Concatenate[PayloadT, ...], Any],
        payload: PayloadT | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job: ...
    @overload
    def submit(
        self,
        job: str,
        payload: Payload = EMPTY,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job: ...
    def submit(
        self,
        job: JobType,
        payload: Payload = EMPTY,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Submit a job by its type, or by the function that handles it: then its payload is checked before.

        It is stored when this returns, and once, whatever got lost on the way; with an `idempotency_key` of your own
        that holds across processes, for a day. Raises InvalidRequest for what is wrong (`errors` names the fields),
        TypeError for a function that is no handler, Conflict for a taken `unique_key` or `id`, Overloaded while too
        much waits, PayloadTooLarge.
        """
        body = job_body(job, payload, options)
        return self._job(self._portal.run(self._client.submit_body(body, idempotency_key=idempotency_key)))

    def submit_many(
        self, jobs: Iterable[NewJob], *, idempotency_key: str | None = None, **options: Unpack[BatchOptions]
    ) -> Batch[Job]:
        """Submit up to 1,000 jobs together, all or none, with `partial` the good ones; errors as of `submit`."""
        several = tuple(jobs)
        batch = self._portal.run(self._client.submit_many(several, idempotency_key=idempotency_key, **options))
        return Batch(batch.id, tuple(None if job is None else self._job(job) for job in batch.jobs), batch.errors)

    def get(self, job: JobRef) -> Job:
        """Read a job; NotFound."""
        return self._job(self._portal.run(self._client.get(job)))

    def get_batch(self, batch: UUID | str) -> BatchSnapshot:
        """Read how far a batch is; NotFound."""
        return self._portal.run(self._client.get_batch(batch))

    def list(self, *, size: int = 20, cursor: str | None = None, **filters: Unpack[JobFilters]) -> Page[Job]:
        """Return a page of jobs, newest first: `size` up to 100, `cursor` from the page before; InvalidRequest.

        Large payloads and results are not in it; `refresh` reads them.
        """
        page = self._portal.run(self._client.list(size=size, cursor=cursor, **filters))
        jobs = tuple(self._job(job) for job in page.jobs)
        return Page(jobs, page.total, page.total_is_estimate, page.next_cursor)

    def iterate(self, **filters: Unpack[JobFilters]) -> Generator[Job]:
        """Yield all jobs that match, newest first, page by page; as `list`."""
        for job in self._portal.iterate(self._client.iterate(**filters)):
            yield self._job(job)

    def cancel(self, job: JobRef) -> Job:
        """Cancel a waiting job at once, or tell the worker of a running one. NotFound; Conflict when it has ended."""
        return self._job(self._portal.run(self._client.cancel(job)))

    def retry(self, job: JobRef) -> Job:
        """Run a job again, in place. NotFound; Conflict unless it failed, timed out or was cancelled."""
        return self._job(self._portal.run(self._client.retry(job)))

    def events(
        self,
        *,
        type: str | Iterable[str] | None = None,  # noqa: A002 -- as the filter is called everywhere
        status: Status | str | Iterable[Status | str] | None = None,
        batch: UUID | str | None = None,
        after: int | None = None,
    ) -> Generator[JobEvent]:
        """Yield events live and in order, each once: from now on, or all after the one with the id `after`.

        Goes on after cuts without loss; EventsLost when what came meanwhile is no longer kept. It never ends by itself.
        """
        return self._portal.iterate(self._client.events(type=type, status=status, batch=batch, after=after))

    @overload
    def map(
        self,
        job: Callable[Concatenate[PayloadT, ...], Any],
        payloads: Iterable[PayloadT | Mapping[str, Any]],
        *,
        progress: bool = True,
        timeout: float | None = None,
        return_exceptions: bool = False,
        in_flight: int = IN_FLIGHT,
        **options: Unpack[SharedOptions],
    ) -> Generator[Any]: ...
    @overload
    def map(
        self,
        job: str,
        payloads: Iterable[Payload],
        *,
        progress: bool = True,
        timeout: float | None = None,
        return_exceptions: bool = False,
        in_flight: int = IN_FLIGHT,
        **options: Unpack[SharedOptions],
    ) -> Generator[Any]: ...
    def map(
        self,
        job: JobType,
        payloads: Iterable[Payload],
        *,
        progress: bool = True,
        timeout: float | None = None,
        return_exceptions: bool = False,
        in_flight: int = IN_FLIGHT,
        **options: Unpack[SharedOptions],
    ) -> Generator[Any]:
        """Run a job for each payload, and yield the results in the order of the payloads, each once.

        Payloads are taken a hundred at a time, as there is room: `in_flight` bounds the jobs whose results were not
        taken yet. With `progress` a bar shows how many have ended, where somebody can see it. A gateway may be killed
        and come back meanwhile: no result is lost, and none comes twice.

        The first job that has not completed ends it in its turn, by JobFailed, JobTimedOut or JobCancelled; with
        `return_exceptions` these are yielded instead. ResultTimeout after `timeout` seconds in all. What is on its way
        when it ends, or when nobody iterates it any more, goes on. Other errors as of `submit` and `Job.result`.
        """
        rest = iter(payloads)
        with progress_bar(type_of(job), total=count_of(payloads), wanted=progress) as tick:
            run = self._client.map_run(job, options, in_flight=in_flight, timeout=timeout, tick=tick)
            with self._portal.within(run):
                while True:
                    while run.has_room and (chunk := tuple(islice(rest, CHUNK))):
                        self._portal.run(run.submit(chunk))
                    results = self._portal.run(run.take())
                    if not results:
                        return
                    for result in results:
                        yield checked(result, return_exceptions=return_exceptions)

    def _job(self, job: AsyncJob) -> Job:
        return Job(self._portal, job)
