"""The client of one event loop; `distriqueue.sdk.client` is the same for code that blocks."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sized
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Final, Self, TypeVar, Unpack, overload
from uuid import UUID

from distriqueue.core.states import Status
from distriqueue.sdk.async_job import AsyncJob
from distriqueue.sdk.errors import EventsLost
from distriqueue.sdk.handle import Batch, Page, Seen
from distriqueue.sdk.mapping import CHUNK, IN_FLIGHT, MapRun, checked
from distriqueue.sdk.models import BatchAnswer, BatchSnapshot, JobEvent, JobSnapshot, PageAnswer, read
from distriqueue.sdk.progress import Tick, progress_bar
from distriqueue.sdk.session import Session
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
    type_of,
)
from distriqueue.sdk.transport import TIMEOUT_S, AsyncTransport

RETRY_FOR_S: Final = 60.0
"""Longer than a gateway's restart."""
PAGE: Final = 100
PayloadT = TypeVar("PayloadT")


class AsyncClient:
    """Submits jobs and follows them, within one event loop.

        async with AsyncClient() as client:
            job = await client.submit("resize", {"width": 80})
            print(await job.result(timeout=60))

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
        """Prepare it; `timeout_s` is for one answer. BadSetting names what is wrong with an address or a key."""
        self.transport: Final = AsyncTransport(url, api_key=api_key, timeout_s=timeout_s, retry_for_s=retry_for_s)
        """For calls of the REST contract that have no method here."""
        self._session = Session(self.transport, retry_for_s=retry_for_s)

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.__aexit__(kind, error, trace)

    @overload
    async def submit(
        self,
        job: Callable[Concatenate[PayloadT, ...], Any],
        payload: PayloadT | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> AsyncJob: ...
    @overload
    async def submit(
        self,
        job: str,
        payload: Payload = EMPTY,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> AsyncJob: ...
    async def submit(
        self,
        job: JobType,
        payload: Payload = EMPTY,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> AsyncJob:
        """Submit a job by its type, or by the function that handles it: then its payload is checked before.

        It is stored when this returns, and once, whatever got lost on the way; with an `idempotency_key` of your own
        that holds across processes, for a day. Raises InvalidRequest for what is wrong (`errors` names the fields),
        TypeError for a function that is no handler, Conflict for a taken `unique_key` or `id`, Overloaded while too
        much waits, PayloadTooLarge.
        """
        return await self.submit_body(job_body(job, payload, options), idempotency_key=idempotency_key)

    async def submit_body(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> AsyncJob:
        """Submit a job as the REST contract spells it; errors as of `submit`."""
        return self._job(await self._session.post_once("/api/jobs", body, idempotency_key=idempotency_key))

    async def submit_many(
        self, jobs: Iterable[NewJob], *, idempotency_key: str | None = None, **options: Unpack[BatchOptions]
    ) -> Batch[AsyncJob]:
        """Submit up to 1,000 jobs together, all or none, with `partial` the good ones; errors as of `submit`."""
        several = tuple(jobs)
        body = batch_body(several, options)
        answer = await self._session.post_once("/api/jobs/batch", body, idempotency_key=idempotency_key)
        said = read(BatchAnswer, answer)
        stored = zip(said.job_ids, several, strict=True)
        handles = (None if id_ is None else AsyncJob(self._session, Seen(id_, new.body["type"])) for id_, new in stored)
        return Batch(said.batch_id, tuple(handles), said.errors)

    async def get(self, job: JobRef) -> AsyncJob:
        """Read a job; NotFound."""
        return self._job(await self.transport.call("GET", f"/api/jobs/{id_of(job)}"))

    async def get_batch(self, batch: UUID | str) -> BatchSnapshot:
        """Read how far a batch is; NotFound."""
        return read(BatchSnapshot, await self.transport.call("GET", f"/api/batches/{id_of(batch)}"))

    async def list(self, *, size: int = 20, cursor: str | None = None, **filters: Unpack[JobFilters]) -> Page[AsyncJob]:
        """Return a page of jobs, newest first: `size` up to 100, `cursor` from the page before; InvalidRequest.

        Large payloads and results are not in it; `refresh` reads them.
        """
        query = {"size": size, "cursor": cursor, **filter_query(filters)}
        said = read(PageAnswer, await self.transport.call("GET", "/api/jobs", query=query))
        seen = (Seen(each.id, each.type, each, is_whole=not each.omitted) for each in said.content)
        jobs = tuple(AsyncJob(self._session, each) for each in seen)
        return Page(jobs, said.total_elements, said.total_is_estimate, said.next_cursor)

    async def iterate(self, **filters: Unpack[JobFilters]) -> AsyncGenerator[AsyncJob]:
        """Yield all jobs that match, newest first, page by page; as `list`."""
        cursor = None
        while True:
            page = await self.list(size=PAGE, cursor=cursor, **filters)
            for job in page.jobs:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    async def cancel(self, job: JobRef) -> AsyncJob:
        """Cancel a waiting job at once, or tell the worker of a running one. NotFound; Conflict when it has ended."""
        return self._job(await self.transport.call("POST", f"/api/jobs/{id_of(job)}/cancel"))

    async def retry(self, job: JobRef) -> AsyncJob:
        """Run a job again, in place. NotFound; Conflict unless it failed, timed out or was cancelled."""
        return self._job(await self.transport.call("POST", f"/api/jobs/{id_of(job)}/retry"))

    async def events(
        self,
        *,
        type: str | Iterable[str] | None = None,  # noqa: A002 -- as the filter is called everywhere
        status: Status | str | Iterable[Status | str] | None = None,
        batch: UUID | str | None = None,
        after: int | None = None,
    ) -> AsyncGenerator[JobEvent]:
        """Yield events live and in order, each once: from now on, or all after the one with the id `after`.

        Goes on after cuts without loss; EventsLost when what came meanwhile is no longer kept. It never ends by itself.
        """
        query = filter_query({"type": type, "status": status, "batch": batch})
        begun = after is not None
        async with contextlib.aclosing(self._session.follow(query, after=after)) as news:
            async for item in news:
                if isinstance(item, JobEvent):
                    yield item
                elif begun:
                    raise EventsLost(
                        "events that you have not seen are no longer kept: read your jobs anew",
                        last_event_id=item.after,
                    )
                begun = True

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
    ) -> AsyncGenerator[Any]: ...
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
    ) -> AsyncGenerator[Any]: ...
    async def map(
        self,
        job: JobType,
        payloads: Iterable[Payload],
        *,
        progress: bool = True,
        timeout: float | None = None,
        return_exceptions: bool = False,
        in_flight: int = IN_FLIGHT,
        **options: Unpack[SharedOptions],
    ) -> AsyncGenerator[Any]:
        """Run a job for each payload, and yield the results in the order of the payloads, each once.

        Payloads are taken a hundred at a time, as there is room: `in_flight` bounds the jobs whose results were not
        taken yet. With `progress` a bar shows how many have ended, where somebody can see it. A gateway may be killed
        and come back meanwhile: no result is lost, and none comes twice.

        The first job that has not completed ends it in its turn, by JobFailed, JobTimedOut or JobCancelled; with
        `return_exceptions` these are yielded instead. ResultTimeout after `timeout` seconds in all. What is on its way
        when it ends, or when nobody iterates it any more, goes on. Other errors as of `submit` and `AsyncJob.result`.
        """
        rest = iter(payloads)
        with progress_bar(type_of(job), total=count_of(payloads), wanted=progress) as tick:
            async with self.map_run(job, options, in_flight=in_flight, timeout=timeout, tick=tick) as run:
                while True:
                    while run.has_room and (chunk := tuple(islice(rest, CHUNK))):
                        await run.submit(chunk)
                    results = await run.take()
                    if not results:
                        return
                    for result in results:
                        yield checked(result, return_exceptions=return_exceptions)

    def map_run(
        self, job: JobType, options: Mapping[str, Any], *, in_flight: int, timeout: float | None, tick: Tick
    ) -> MapRun:
        """What `map` is made of, for both clients."""
        return MapRun(self._session, job, options, in_flight=in_flight, timeout_s=timeout, tick=tick)

    def _job(self, answer: object) -> AsyncJob:
        snapshot = read(JobSnapshot, answer)
        return AsyncJob(self._session, Seen(snapshot.id, snapshot.type, snapshot))


def count_of(payloads: Iterable[Payload]) -> int | None:
    """Return how many there are; None when that is not known before they were all taken."""
    return len(payloads) if isinstance(payloads, Sized) else None
