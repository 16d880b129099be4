"""The hot routes in: `POST /jobs`, `POST /jobs/batch`."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.job import new_job_id
from distriqueue.store.jobs import NewJob
from gateway.api import views
from gateway.api.lean import LeanRoute, read_json
from gateway.api.openapi import body_of
from gateway.api.problems import Problem, invalid
from gateway.api.submission import read_batch, read_submission
from gateway.intake import Submission
from gateway.parts import Parts, parts_of

JSON: Final = "application/json"
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "Not JSON"},
    409: {"model": Problem, "description": "The id is taken"},
    413: {"model": Problem, "description": "Too large"},
    415: {"model": Problem, "description": "Not `application/json`"},
    422: {"model": Problem, "description": "A field is wrong; `errors` names it"},
    429: {"model": Problem, "description": "Too much waits already; see `Retry-After`"},
    503: {"model": Problem, "description": "Postgres does not answer; see `Retry-After`"},
}

router: Final = APIRouter(prefix="/jobs", tags=["jobs"], route_class=LeanRoute)


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_model=views.JobView,
    responses=REFUSALS,
    openapi_extra=body_of("JobSubmission"),
)
async def submit_job(request: Request) -> Response:
    """Store a job durably, and answer; it is dispatched at once, and runs even if the broker is down meanwhile."""
    parts = parts_of(request)
    job, own_id = read_submission(await read_json(request, max_bytes=parts.settings.max_body_bytes))
    stored = await parts.intake.submit(Submission((job,), own_id))
    return Response(
        views.dumps(views.new_job(job, stored[job.id])), 202, {"Location": f"/api/jobs/{job.id}"}, media_type=JSON
    )


@router.post(
    "/batch",
    status_code=202,
    summary="Submit many jobs",
    response_model=views.BatchAnswer,
    responses=REFUSALS,
    openapi_extra=body_of("BatchSubmission", or_array_of="JobSubmission"),
)
async def submit_batch(request: Request) -> Response:
    """Store jobs together or not at all; with `partial`, the good ones although others are wrong."""
    parts = parts_of(request)
    batch = read_batch(await read_json(request, max_bytes=parts.settings.max_batch_body_bytes))
    _check_size(len(batch.jobs), parts)
    batch_id = new_job_id()
    jobs: list[NewJob] = []
    ids: list[UUID | None] = []
    own_ids = False
    errors: list[dict[str, object]] = []
    for index, item in enumerate(batch.jobs):
        try:
            job, own_id = read_submission(item, where=f"jobs.{index}", batch_id=batch_id)
        except InvalidRequest as exc:
            errors += [{**error, "index": index} for error in exc.errors]
            ids.append(None)
            continue
        own_ids = own_ids or own_id
        jobs.append(job)
        ids.append(job.id)
    if errors and not batch.partial:
        raise invalid(errors)
    if len({job.id for job in jobs}) < len(jobs):
        raise invalid([{"field": "jobs", "message": "two jobs have the same id"}])
    stored = await parts.intake.submit(Submission(tuple(jobs), own_ids)) if jobs else {}
    answer = {
        "batchId": batch_id,
        "totalJobs": len(batch.jobs),
        "successful": len(jobs),
        "failed": len(batch.jobs) - len(jobs),
        "jobIds": ids,
        "errors": errors,
        "submittedAt": stored[jobs[0].id].created_at if jobs else datetime.now(UTC),
    }
    return Response(views.dumps(answer), 202, media_type=JSON)


def _check_size(jobs: int, parts: Parts) -> None:
    most = parts.settings.max_batch_jobs
    if not 1 <= jobs <= most:
        raise invalid([{"field": "jobs", "message": f"a batch has 1 to {most} jobs, not {jobs}"}])
