"""Waiting for a job's or a batch's end, over the live stream, with a bar on a terminal."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from distriqueue.cli.errors import printable
from distriqueue.cli.gateway import advised
from distriqueue.cli.home import Callee
from distriqueue.cli.output import console, short
from distriqueue.core.errors import DistriQueueError, NotFound
from distriqueue.core.states import TERMINAL, Status
from distriqueue.sdk.exchange import Query
from distriqueue.sdk.models import JobEvent
from distriqueue.sdk.stream import Gap, follow
from distriqueue.sdk.transport import AsyncTransport

PATIENCE_S: Final = 60.0
"""A wait goes on while its gateway restarts."""


class NotInTime(DistriQueueError, TimeoutError):
    """The time to wait was over; what was waited for goes on."""

    code = "not_in_time"


def job_end(callee: Callee, job_id: str, *, timeout_s: float | None) -> dict[str, Any]:
    """Return the job as it ended; NotInTime."""

    async def wait(transport: AsyncTransport, progress: Progress) -> dict[str, Any]:
        task = progress.add_task(job_id, total=100)
        async for event in events(transport, {"jobId": job_id}):
            if isinstance(event, Gap):
                job: dict[str, Any] = await transport.call("GET", f"/api/jobs/{job_id}")
                _draw(progress, task, job["status"], job["progress"], job["progressMessage"])
                if Status(job["status"]) in TERMINAL:
                    return job
                continue
            _draw(progress, task, event.status, event.progress, event.progress_message)
            if event.is_end:
                ended: dict[str, Any] = await transport.call("GET", f"/api/jobs/{job_id}")
                if Status(ended["status"]) in TERMINAL:  # else it was retried meanwhile
                    return ended
        raise NotFound("the stream has ended")

    return asyncio.run(_waited(callee, wait, timeout_s, f"job {job_id} has not ended"))


def batch_end(callee: Callee, batch_id: str, *, timeout_s: float | None) -> dict[str, Any]:
    """Return the batch once all its jobs have ended; NotInTime."""

    async def wait(transport: AsyncTransport, progress: Progress) -> dict[str, Any]:
        task = progress.add_task(batch_id, total=100)
        left = 0
        async for event in events(transport, {"batch": batch_id, "status": [status.value for status in TERMINAL]}):
            # Ends only count down: the batch itself is asked when they may be all, and says what is true.
            left -= 0 if isinstance(event, Gap) else 1
            if isinstance(event, Gap) or left <= 0:
                batch: dict[str, Any] = await transport.call("GET", f"/api/batches/{batch_id}")
                if batch["finished"]:
                    return batch
                total = batch["totalJobs"]
                left = max(round(total * (1 - batch["progress"] / 100)), 1)
                progress.update(task, total=total, completed=total - left)
            else:
                progress.advance(task)
        raise NotFound("the stream has ended")

    return asyncio.run(_waited(callee, wait, timeout_s, f"batch {batch_id} is not finished"))


async def events(transport: AsyncTransport, query: Query) -> AsyncGenerator[JobEvent | Gap]:
    """Yield events for ever, first of all a gap."""
    stream = follow(transport, query, retry_for_s=PATIENCE_S, rng=random.SystemRandom())
    async with contextlib.aclosing(stream) as found:
        async for event in found:
            yield event


async def _waited(callee: Callee, wait: Any, timeout_s: float | None, otherwise: str) -> dict[str, Any]:
    url = callee.urls[0] if callee.urls else None
    async with AsyncTransport(url, api_key=callee.key, retry_for_s=PATIENCE_S) as transport:
        with advised(transport.url), _bar() as progress:
            try:
                async with asyncio.timeout(timeout_s):
                    ended: dict[str, Any] = await wait(transport, progress)
            except TimeoutError as exc:
                if isinstance(exc, DistriQueueError):
                    raise
                raise NotInTime(f"{otherwise} within {timeout_s:g} s; it goes on") from exc
    return ended


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    err = console(stderr=True)
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def _draw(progress: Progress, task: TaskID, status: str, percent: float | None, message: str | None) -> None:
    said = f": {printable(short(message, 40) or '')}" if message else ""
    progress.update(task, description=f"{status}{said}".replace("[", r"\["), completed=percent or 0.0)


def error_of(job: Mapping[str, Any]) -> str:
    """Say how a job ended that did not complete."""
    error = job["error"] or {}
    kind = f"{error['type']}: " if error.get("type") else ""
    return f"job {job['id']} ended as {job['status']}{': ' if error else ''}{kind}{error.get('message') or ''}"
