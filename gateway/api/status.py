"""The hot route of workers: `POST /jobs/status`."""

from typing import Final

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.messages import Report, ReportAnswer
from distriqueue.store.reports import bounded
from gateway.api import views
from gateway.api.lean import LeanRoute, read_json
from gateway.api.openapi import body_of
from gateway.api.problems import field_errors, invalid
from gateway.api.submit import JSON, REFUSALS
from gateway.parts import parts_of

ONE: Final = TypeAdapter(Report)
MANY: Final = TypeAdapter(list[Report])

router: Final = APIRouter(prefix="/jobs", tags=["workers"], route_class=LeanRoute)


@router.post(
    "/status",
    summary="Report on attempts",
    response_model=ReportAnswer | list[ReportAnswer],
    responses={status: answer for status, answer in REFUSALS.items() if status != 409},
    openapi_extra=body_of("Report", or_array_of="Report"),
)
async def report(request: Request) -> Response:
    """Take one report or a list, and answer each: accepted, refused, stale. One in, one out; a list in, a list out."""
    parts = parts_of(request)
    body = await read_json(request, max_bytes=parts.settings.max_batch_body_bytes)
    try:
        reports = MANY.validate_python(body) if isinstance(body, list) else [ONE.validate_python(body)]
    except ValidationError as exc:
        raise invalid(field_errors(exc.errors(include_url=False))) from None
    most = parts.settings.max_result_bytes
    if int(request.headers.get("content-length", most + 1)) > most:
        reports = [bounded(report, most) for report in reports]
    answers = [_answer(answer) for answer in await parts.reports.apply(reports)]
    return Response(views.dumps(answers if isinstance(body, list) else answers[0]), media_type=JSON)


def _answer(answer: ReportAnswer) -> dict[str, object]:
    shown: dict[str, object] = {"jobId": answer.job_id, "attempt": answer.attempt, "answer": answer.answer}
    if answer.reason is not None:
        shown["reason"] = answer.reason
    if answer.parents:
        shown["parents"] = [parent.model_dump(by_alias=True) for parent in answer.parents]
    if answer.checkpoint is not None:
        shown["checkpoint"] = answer.checkpoint
    return shown
