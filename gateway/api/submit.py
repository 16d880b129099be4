"""The hot routes in: `POST /jobs`, `POST /jobs/batch`."""

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import IdempotencyKeyInFlight
from distriqueue.store.submissions import Submission
from gateway.api import views
from gateway.api.batch import read_batch
from gateway.api.idempotency import REPLAYED, come_again, idempotency_key, submission_of
from gateway.api.lean import LeanRoute, read_json
from gateway.api.problems import Problem
from gateway.api.submission import read_submission
from gateway.parts import parts_of

JSON: Final = "application/json"
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "Not JSON"},
    409: {
        "model": Problem,
        "description": "The id or unique key is taken; or the idempotency key is in flight, see `Retry-After`",
    },
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
    responses=REFUSALS | {200: {"model": views.JobView, "description": "The job that has the unique key already"}},
    openapi_extra=submission_of("JobSubmission"),
)
async def submit_job(request: Request) -> Response:
    """Store a job durably, and answer; it is dispatched at once, and runs even if the broker is down meanwhile."""
    parts = parts_of(request)
    parts.backlog.check()
    body = await read_json(request, max_bytes=parts.settings.max_body_bytes)
    job, own_id = read_submission(body)
    submission = Submission((job,), own_id, idempotency=idempotency_key(request, body))
    try:
        accepted = await parts.intake.submit(submission)
    except IdempotencyKeyInFlight as exc:
        return come_again(request, exc)
    stored = accepted.jobs[0]
    view = views.new_job(job, stored) if stored.is_new else views.job_view(await parts.reader.get(stored.id))
    headers = {"Location": f"/api/jobs/{stored.id}"} | REPLAYED[accepted.replayed]
    return Response(views.dumps(view), 202 if stored.is_new else 200, headers, media_type=JSON)


@router.post(
    "/batch",
    status_code=202,
    summary="Submit many jobs",
    response_model=views.BatchAnswer,
    responses=REFUSALS,
    openapi_extra=submission_of("BatchSubmission", or_array_of="JobSubmission"),
)
async def submit_batch(request: Request) -> Response:
    """Store jobs together or not at all; with `partial`, the good ones although others are wrong."""
    parts = parts_of(request)
    parts.backlog.check()
    body = await read_json(request, max_bytes=parts.settings.max_batch_body_bytes)
    asked = read_batch(body, most=parts.settings.max_batch_jobs)
    accepted = None
    if asked.jobs:
        submission = Submission(asked.jobs, asked.own_ids, asked.batch, idempotency_key(request, body))
        try:
            accepted = await parts.intake.submit(submission)
        except IdempotencyKeyInFlight as exc:
            return come_again(request, exc)
    stored = iter(accepted.jobs if accepted else ())
    answer = {
        "batchId": accepted.batch_id if accepted else None,
        "batchName": asked.batch.name,
        "totalJobs": len(asked.ids),
        "successful": len(asked.jobs),
        "failed": len(asked.ids) - len(asked.jobs),
        "jobIds": [None if id_ is None else next(stored).id for id_ in asked.ids],
        "errors": asked.errors,
        "submittedAt": accepted.jobs[0].created_at if accepted else datetime.now(UTC),
    }
    location = {"Location": f"/api/batches/{accepted.batch_id}"} if accepted else {}
    return Response(
        views.dumps(answer), 202, location | REPLAYED[accepted is not None and accepted.replayed], media_type=JSON
    )
