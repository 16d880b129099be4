"""One `map`: many jobs of a type, submitted in batches, their results in the order of the payloads.

The client chooses the ids, so it listens for the jobs' ends before it submits them; each batch has an idempotency key,
so it is stored once however often it is sent. A job is read when the stream says "look", and counted once: nothing is
lost with a connection, and nothing comes twice.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from uuid import UUID

from distriqueue.core.errors import DistriQueueError, InvalidRequest
from distriqueue.core.job import new_job_id
from distriqueue.core.states import Status
from distriqueue.sdk.ends import Watch
from distriqueue.sdk.errors import JobNotCompleted, ResultTimeout
from distriqueue.sdk.handle import not_completed
from distriqueue.sdk.models import BatchAnswer, JobSnapshot, PageAnswer, read
from distriqueue.sdk.progress import Tick
from distriqueue.sdk.session import Session
from distriqueue.sdk.submission import JobType, Payload, options_body, payload_body, type_of

CHUNK: Final = 100
"""Jobs of a batch: as many as one page of the gateway's list shows."""
IN_FLIGHT: Final = 2_000
"""Jobs that are submitted, and their results not yet taken."""
POSTS: Final = 4
"""Batches on their way at once."""
READS: Final = 8
FEW: Final = 8
"""So many ended jobs of a batch are read one by one; for more, the batch is."""

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Called by its task: a coroutine of a task that is cancelled before it begins would be left over."""


class MapRun:
    """The jobs of one `map`, between their submission and the taking of their results."""

    def __init__(
        self,
        session: Session,
        job: JobType,
        options: Mapping[str, Any],
        *,
        in_flight: int,
        timeout_s: float | None,
        tick: Tick,
    ) -> None:
        """Prepare it; TypeError for what is no handler or no option, InvalidRequest for a wrong option."""
        self._session = session
        self._job = job
        self._shared = {"type": type_of(job), **options_body(options)}
        self._in_flight = max(in_flight, CHUNK)
        self._timeout_s = timeout_s
        self._deadline: float | None = None
        self._tick = tick
        self._watching = session.ends.watch(type_of(job))
        self._watch: Watch | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._posts = asyncio.Semaphore(POSTS)
        self._reads = asyncio.Semaphore(READS)
        self._given = 0
        self._order: deque[UUID] = deque()
        """Jobs whose results were not taken yet."""
        self._chunks: dict[UUID, _Chunk] = {}
        """The batches of those that have not ended, as far as is known."""
        self._outcomes: dict[UUID, Any] = {}
        self._suspects: set[UUID] = set()
        """Those that may have ended."""
        self._news = asyncio.Event()
        self._arrived = asyncio.Event()
        self._failure: DistriQueueError | None = None

    async def __aenter__(self) -> Self:
        if self._timeout_s is not None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout_s
        self._watch = await self._watching.__aenter__()
        self._start(self._read_suspects)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        if self._watch is not None:
            self._watch.discard(self._chunks, self)
        await self._watching.__aexit__(None, None, None)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be submitted now."""
        return len(self._order) + CHUNK <= self._in_flight

    async def submit(self, payloads: Sequence[Payload]) -> None:
        """Begin to submit a batch; InvalidRequest when a payload is wrong."""
        if self._watch is None:
            raise DistriQueueError("this map has not begun")
        jobs: dict[UUID, dict[str, Any]] = {}
        for payload in payloads:
            job_id = new_job_id()
            try:
                jobs[job_id] = self._shared | {"payload": payload_body(self._job, payload), "id": job_id}
            except InvalidRequest as exc:
                message = f"payload {self._given + len(jobs)}: {exc.message}"
                raise InvalidRequest(message, errors=exc.errors) from None
        self._given += len(jobs)
        self._order.extend(jobs)
        chunk = _Chunk()
        self._chunks |= dict.fromkeys(jobs, chunk)
        self._watch.add(jobs, self)
        self._start(partial(self._post, chunk, list(jobs.values())))

    async def take(self) -> list[Any]:
        """Return the next results, at least one, in order; none when nothing is on its way.

        A job that did not complete is among them as its error. Raises what made going on impossible; ResultTimeout.
        """
        limit = asyncio.timeout_at(self._deadline)
        try:
            async with limit:
                return await self._take()
        except TimeoutError:
            if not limit.expired():
                raise
            left = len(self._order)
            raise ResultTimeout(f"{left} jobs on their way have not all ended within {self._timeout_s:g} s") from None

    def look(self, job_id: UUID) -> None:
        """A job may have ended."""
        if job_id in self._chunks:
            self._suspects.add(job_id)
            self._news.set()

    def lost(self, error: DistriQueueError) -> None:
        """Nothing will be heard any more, or nothing can be done: the next `take` says why."""
        self._failure = self._failure or error
        self._arrived.set()

    def _start(self, work: Work) -> None:
        task = self._session.background.start(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except DistriQueueError as exc:
            self.lost(exc)

    async def _take(self) -> list[Any]:
        while self._order:
            ready = []
            while self._order and self._order[0] in self._outcomes:
                ready.append(self._outcomes.pop(self._order.popleft()))
            if ready:
                return ready
            if self._failure is not None:
                raise self._failure
            self._arrived.clear()
            await self._arrived.wait()
        return []

    async def _post(self, chunk: "_Chunk", jobs: list[dict[str, Any]]) -> None:
        async with self._posts:
            answer = await self._session.post_once("/api/jobs/batch", {"jobs": jobs})
        chunk.batch_id = read(BatchAnswer, answer).batch_id
        self._news.set()  # some may have been told of before the answer came

    async def _read_suspects(self) -> None:
        while True:
            await self._news.wait()  # as long as the map goes on
            self._news.clear()
            found: dict[_Chunk, list[UUID]] = defaultdict(list)
            for job_id in self._suspects:
                chunk = self._chunks.get(job_id)
                if chunk is not None and chunk.batch_id is not None:
                    found[chunk].append(job_id)
            async with asyncio.TaskGroup() as group:
                for chunk, job_ids in found.items():
                    self._suspects.difference_update(job_ids)
                    if len(job_ids) > FEW:
                        group.create_task(self._guarded(partial(self._read_batch, chunk, set(job_ids))))
                    else:
                        for job_id in job_ids:
                            group.create_task(self._guarded(partial(self._read_job, job_id)))

    async def _read_batch(self, chunk: "_Chunk", job_ids: set[UUID]) -> None:
        async with self._reads:
            answer = await self._session.transport.call(
                "GET", "/api/jobs", query={"batch": chunk.batch_id, "size": CHUNK}
            )
        jobs = [job for job in read(PageAnswer, answer).content if job.id in job_ids and job.is_finished]
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                if "result" in job.omitted:
                    group.create_task(self._guarded(partial(self._read_job, job.id)))
                else:
                    self._end(job)

    async def _read_job(self, job_id: UUID) -> None:
        async with self._reads:
            job = read(JobSnapshot, await self._session.transport.call("GET", f"/api/jobs/{job_id}"))
        if job.is_finished:
            self._end(job)

    def _end(self, job: JobSnapshot) -> None:
        del self._chunks[job.id]  # what is told of it from now on is passed over: it counts once
        if self._watch is not None:
            self._watch.discard((job.id,), self)
        completed = job.status is Status.COMPLETED
        self._outcomes[job.id] = job.result if completed else not_completed(job)
        self._tick()
        if self._order[0] in self._outcomes:
            self._arrived.set()


def checked(result: Any, *, return_exceptions: bool) -> Any:
    """Return a job's result; raise how it has ended otherwise, unless that is to be returned too."""
    if isinstance(result, JobNotCompleted) and not return_exceptions:
        raise result
    return result


class _Chunk:
    """The jobs of one batch; `batch_id` is None until it is known to be stored."""

    def __init__(self) -> None:
        self.batch_id: UUID | None = None
