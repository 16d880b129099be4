"""A gateway of the test's own: what calls answer, and what its stream says, as the test has it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import orjson

from distriqueue.core.errors import DistriQueueError, NotFound
from distriqueue.sdk.exchange import Answer
from distriqueue.sdk.session import Session
from distriqueue.sdk.transport import AsyncTransport


class FakeGateway:
    """Jobs in a dictionary; a stream that is fed by hand."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.streams: list[Mapping[str, str]] = []
        """The headers of each opening."""
        self.queries: list[Mapping[str, object]] = []
        self.opened = asyncio.Event()
        self.pieces: asyncio.Queue[bytes | DistriQueueError] = asyncio.Queue()
        self.batches: dict[str, list[str]] = {}
        self.holds_posts = asyncio.Event()
        self.holds_posts.set()
        self.events = 0

    def session(self, *, retry_for_s: float = 5.0) -> Session:
        """Return a client's inside that talks to this."""
        return Session(cast("AsyncTransport", self), retry_for_s=retry_for_s)

    async def aclose(self) -> None:
        """Nothing is open."""

    async def call(self, method: str, path: str, **more: Any) -> Any:
        """Answer a call."""
        return (await self.ask(method, path, **more)).body

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        """Answer a call."""
        self.calls.append((method, path))
        await asyncio.sleep(0)
        if path == "/api/jobs/batch":
            return Answer(202, {}, await self._take(more["body"]["jobs"]))
        if path == "/api/jobs":
            ids = self.batches[str(more["query"]["batch"])]
            jobs = [self._listed(self.jobs[each]) for each in ids]
            return Answer(200, {}, {"content": jobs, "totalElements": len(jobs), "nextCursor": None})
        job = self.jobs.get(path.rpartition("/")[2])
        if job is None:
            raise NotFound(f"there is no {path}")
        return Answer(200, {}, dict(job))

    @asynccontextmanager
    async def stream(
        self, _path: str, *, query: Mapping[str, object], headers: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the stream; it says what is put into `pieces`."""
        assert silence_s > 0
        self.streams.append(headers)
        self.queries.append(query)
        self.opened.set()
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await self.pieces.get():
            if isinstance(piece, DistriQueueError):
                raise piece
            yield piece

    async def _take(self, jobs: list[dict[str, Any]]) -> dict[str, Any]:
        await self.holds_posts.wait()
        ids = [str(job["id"]) for job in jobs]
        for id_, job in zip(ids, jobs, strict=True):
            if id_ not in self.jobs:
                self.add(UUID(id_), type_=job["type"], payload=job["payload"])
        batch_id = str(UUID(int=len(self.batches) + 1))
        self.batches[batch_id] = ids
        return {"batchId": batch_id, "jobIds": ids}

    def _listed(self, job: dict[str, Any]) -> dict[str, Any]:
        return job | ({"result": None, "omitted": ["result"]} if job.get("large") else {})

    def add(self, job_id: UUID, *, type_: str = "t", status: str = "pending", **more: Any) -> None:
        """Store a job."""
        self.jobs[str(job_id)] = {
            "id": str(job_id),
            "type": type_,
            "status": status,
            "priority": "MEDIUM",
            "attempt": 1,
            "createdAt": datetime.now(UTC).isoformat(),
            **more,
        }

    def end(self, job_id: UUID | str, status: str = "completed", *, tells: bool = True, **more: Any) -> None:
        """Let a job end, and say so over the stream."""
        self.jobs[str(job_id)] |= {"status": status, **more}
        if tells:
            self.tell(job_id, status)

    def tell(self, job_id: UUID | str, status: str) -> None:
        """Say over the stream that a job has got a status."""
        job = self.jobs[str(job_id)]
        self.say("job-update", jobId=str(job_id), status=status, type=job["type"], **_FACTS)

    def say(self, name: str, **data: Any) -> None:
        """Say something over the stream."""
        self.events += 1
        self.pieces.put_nowait(b"id: %d\nevent: %s\ndata: %s\n\n" % (self.events, name.encode(), orjson.dumps(data)))

    def end_stream(self) -> None:
        """End the response, as a gateway that stops does."""
        self.pieces.put_nowait(b"")


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- of the fake itself, which signals nothing
            await asyncio.sleep(0.001)


_FACTS = {"priority": "MEDIUM", "attempt": 1, "timestamp": "2030-01-01T00:00:00Z"}
