"""Reading jobs, and acting on one: get, list, timeline, attempts, logs, cancel, retry, statistics."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.states import Status
from distriqueue.store.logs import LogLine, LogReader
from distriqueue.store.reads import Count
from gateway.api import views
from gateway.api.access import audit
from gateway.api.problems import Problem
from gateway.api.query import JobListQuery, SpanQuery, TimelineQuery, read_cursor, write_cursor
from gateway.api.statistics import Statistics, statistics_view
from gateway.api.submit import JSON
from gateway.parts import Parts, parts_of

router: Final = APIRouter(prefix="/jobs", tags=["jobs"])

PartsOf = Annotated[Parts, Depends(parts_of)]
JobIdOf = Annotated[UUID, Path(alias="jobId")]

NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "No such job"}}
CONFLICT: Final[dict[int | str, dict[str, Any]]] = {409: {"model": Problem, "description": "Its state forbids it"}}

NEXT: Final[dict[str, Any]] = {"description": "The next ones, if there are more", "schema": {"type": "string"}}
TIMELINE: Final = 1_000
"""Most events of one answer."""
LINES: Final = 1_000
"""Most lines of a log in one answer."""


class LogQuery(BaseModel):
    """The page of `GET /jobs/{id}/logs`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempt: int | None = Field(default=None, ge=1, lt=2**31 - 1, description="Only lines of this attempt.")
    after: str = Field(
        default="0-0",
        pattern=r"^[0-9]{1,9}-[0-9]{1,9}$",
        description="Only lines behind this one: its `attempt`, a dash, its `n`.",
    )


class LogLineView(views.View):
    """A line that a handler wrote to its job's log."""

    attempt: int
    n: int
    """From 1 on, in its attempt."""
    timestamp: datetime
    """By the worker's clock."""
    level: Literal["debug", "info", "warning", "error", "critical"]
    message: str
    fields: dict[str, Any] | None


@router.get("", summary="List jobs", response_model=views.JobPage)
async def list_jobs(query: Annotated[JobListQuery, Query()], parts: PartsOf) -> Response:
    """Newest first. Large payloads and results are left out here (null); read the job itself for them.

    For several filters at once, and for `q`, ten thousand jobs are looked at a page: one may be short, or empty, and
    have a `nextCursor` all the same. There are no more when it is null.
    """
    where = query.filter()
    after = None if query.cursor is None else read_cursor(query.cursor)
    offset = 0 if after else query.offset()
    jobs, following = await parts.reader.page(where, size=query.size, offset=offset, after=after)
    if following is None and not offset and after is None:
        count = Count(len(jobs), exact=True)
    else:
        count = await parts.reader.count(where)
    answer = {
        "content": [views.job_view(job) for job in jobs],
        "page": query.page,
        "size": query.size,
        "totalElements": count.jobs,
        "totalIsEstimate": not count.exact,
        "totalPages": -(-count.jobs // query.size),
        "nextCursor": None if following is None else write_cursor(following),
    }
    return _json(answer)


@router.get("/statistics", summary="Figures over jobs", response_model=Statistics)
async def statistics(span: Annotated[SpanQuery, Query()], parts: PartsOf) -> Response:
    """Totals by status, type, priority and worker, success rate, average queue and run time, hourly throughput.

    At constant cost: from hourly sums, so the span is widened to whole hours. `total` and `byStatus` are of the jobs
    that are stored and were created in it; all else is of what happened in it, to jobs that may be gone by now.
    Without a span it is all time, but `byWorker` and `hourly`, which are then of the newest 24 hours.
    """
    return _json(statistics_view(await parts.statistics.read(span.start, span.end)))


@router.get("/{jobId:uuid}", summary="Read a job", response_model=views.JobView, responses=NOT_FOUND)
async def get_job(job_id: JobIdOf, parts: PartsOf) -> Response:
    """Return the job with its payload, result or error, and timings in milliseconds."""
    return _json(views.job_view(await parts.reader.get(job_id)))


@router.get(
    "/{jobId:uuid}/events",
    summary="A job's timeline",
    response_model=list[views.EventView],
    responses=NOT_FOUND | {200: {"headers": {"Link": NEXT}}},
)
async def job_events(job_id: JobIdOf, query: Annotated[TimelineQuery, Query()], parts: PartsOf) -> Response:
    """Return every transition of the job and its steps of progress, oldest first, at most 1,000.

    When there are more, the header `Link` (RFC 8288) has the address of the next ones, with `rel="next"`.
    """
    await parts.reader.get(job_id)
    events = await parts.events.of_job(job_id, TIMELINE + 1, after=query.after)
    shown = [views.event_view(event) for event in events[:TIMELINE]]
    headers = {}
    if len(events) > TIMELINE:
        headers["Link"] = f'</api/jobs/{job_id}/events?after={events[TIMELINE - 1].seq}>; rel="next"'
    return _json(shown, headers=headers)


@router.get(
    "/{jobId:uuid}/attempts", summary="A job's attempts", response_model=list[views.AttemptView], responses=NOT_FOUND
)
async def job_attempts(job_id: JobIdOf, parts: PartsOf) -> Response:
    """Return every attempt with its worker, start, end, outcome and error, oldest first."""
    await parts.reader.get(job_id)
    return _json([views.attempt_view(attempt) for attempt in await parts.reader.attempts(job_id)])


@router.get(
    "/{jobId:uuid}/logs",
    summary="A job's log",
    response_model=list[LogLineView],
    responses=NOT_FOUND | {200: {"headers": {"Link": NEXT}}},
)
async def job_logs(job_id: JobIdOf, query: Annotated[LogQuery, Query()], parts: PartsOf) -> Response:
    """Return what the job's handler wrote to its log, oldest first, at most 1,000 lines; of a running job, so far.

    An attempt has at most 1,000 lines. When there are more, the header `Link` (RFC 8288) has the address of the next
    ones, with `rel="next"`.
    """
    await parts.reader.get(job_id)
    attempt, _, n = query.after.partition("-")
    after = (int(attempt), int(n))
    lines = await LogReader(parts.database).of_job(job_id, LINES + 1, attempt=query.attempt, after=after)
    shown = [log_line_view(line) for line in lines[:LINES]]
    headers = {}
    if len(lines) > LINES:
        last = lines[LINES - 1]
        headers["Link"] = f'</api/jobs/{job_id}/logs?after={last.attempt}-{last.n}>; rel="next"'
    return _json(shown, headers=headers)


@router.post(
    "/{jobId:uuid}/cancel",
    summary="Cancel a job",
    response_model=views.JobView,
    responses={202: {"model": views.JobView, "description": "It runs; its worker is told"}} | NOT_FOUND | CONFLICT,
)
async def cancel_job(job_id: JobIdOf, parts: PartsOf, request: Request) -> Response:
    """Cancel a waiting job at once (200), or tell the worker of a running one (202)."""
    await audit(request, "job.cancel", str(job_id))
    cancelled = await parts.jobs.cancel(job_id)
    parts.publisher.offer(cancelled.ready)
    job = await parts.reader.get(job_id)
    return _json(views.job_view(job), status=202 if cancelled.statuses[job_id] is Status.RUNNING else 200)


@router.post("/{jobId:uuid}/retry", summary="Retry a job", response_model=views.JobView, responses=NOT_FOUND | CONFLICT)
async def retry_job(job_id: JobIdOf, parts: PartsOf, request: Request) -> Response:
    """Run a failed, timed out or cancelled job again, in place: its history is kept, its attempt grows."""
    await audit(request, "job.retry", str(job_id))
    parts.publisher.offer((await parts.jobs.retry(job_id)).ready)
    return _json(views.job_view(await parts.reader.get(job_id)))


def log_line_view(line: LogLine) -> dict[str, Any]:
    """Show one line of a job's log."""
    return {
        "attempt": line.attempt,
        "n": line.n,
        "timestamp": line.at,
        "level": line.level,
        "message": line.message,
        "fields": views.raw(line.fields),
    }


def _json(answer: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(views.dumps(answer), status, headers, media_type=JSON)
