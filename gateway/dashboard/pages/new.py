"""`/jobs/new`: a new job, from nothing, from another job, or from a schedule."""

import json
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import DistriQueueError, InvalidRequest
from distriqueue.store.jobs import NewJob
from distriqueue.store.submissions import Submission
from gateway.api.submission import read_submission
from gateway.dashboard.answers import PageRoute, takes_gzip
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.documents import editable
from gateway.dashboard.forms import Fields, job_context, number, payload, posted, tags
from gateway.dashboard.redaction import HIDDEN, restored
from gateway.dashboard.render import HEADERS

router: Final = APIRouter(route_class=PageRoute)

EMPTY: Final[Fields] = {
    "type": "",
    "priority": "MEDIUM",
    "payload": "{}",
    "maxRetries": "3",
    "executionTimeout": "300",
    "tags": "",
    "scheduleAt": "",
    "from": "",
    "schedule": "",
}


@router.get("/jobs/new", include_in_schema=False)
async def new(request: Request) -> Response:
    """Show the form, filled from what is to be copied."""
    ask = ask_of(request)
    fields = EMPTY | {"type": ask.param("type")}
    if source := ask.param("from"):
        fields |= await _of_job(ask, source)
    elif schedule := ask.param("schedule"):
        fields |= await _of_schedule(ask, schedule)
    return _form(request, ask, fields)


@router.post("/jobs/new", include_in_schema=False)
async def submit(request: Request) -> Response:
    """Submit the job, and go to its page; or say in the form what is wrong."""
    ask = ask_of(request)
    fields = EMPTY | {name: value for name, value in (await posted(request)).items() if name in EMPTY}
    try:
        ask.parts.backlog.check()
        job = await _job(ask, fields)
        accepted = await ask.parts.intake.submit(Submission((job,)))
    except DistriQueueError as exc:
        return _form(request, ask, fields, error=exc)
    return Response(headers={**HEADERS, "HX-Redirect": f"/jobs/{accepted.jobs[0].id}"})


async def _job(ask: Ask, fields: Fields) -> NewJob:
    document = payload(fields)
    if HIDDEN in fields["payload"]:
        document = restored(document, await _original(ask, fields))
    body: dict[str, Any] = {
        "type": fields["type"],
        "priority": fields["priority"],
        "payload": document,
        "tags": tags(fields),
        "maxRetries": number(fields, "maxRetries"),
        "executionTimeout": number(fields, "executionTimeout"),
    }
    if fields["scheduleAt"]:
        body["scheduleAt"] = f"{fields['scheduleAt']}Z"
    job, _ = read_submission(body)
    return job


async def _original(ask: Ask, fields: Fields) -> Any:
    """Return the document that the form was filled from."""
    if fields["from"]:
        return json.loads((await ask.parts.reader.get(_uuid(fields["from"]))).payload or "{}")
    if fields["schedule"]:
        return json.loads((await ask.parts.schedules.get(fields["schedule"])).plan.payload_json or "{}")
    return {}


async def _of_job(ask: Ask, job_id: str) -> Fields:
    job = await ask.parts.reader.get(_uuid(job_id))
    return {
        "from": str(job.id),
        "type": job.type,
        "priority": job.priority,
        "payload": editable(job.payload),
        "maxRetries": str(job.max_retries),
        "executionTimeout": f"{job.execution_timeout_s:g}",
        "tags": ", ".join(job.tags),
    }


async def _of_schedule(ask: Ask, name: str) -> Fields:
    plan = (await ask.parts.schedules.get(name)).plan
    return {
        "schedule": name,
        "type": plan.type,
        "priority": plan.priority.value,
        "payload": editable(plan.payload_json),
        "maxRetries": str(plan.max_retries),
        "executionTimeout": f"{plan.execution_timeout_s:g}",
        "tags": ", ".join(plan.tags),
    }


def _form(request: Request, ask: Ask, fields: Fields, *, error: DistriQueueError | None = None) -> Response:
    context = ask.context | job_context(ask, fields, error)
    context |= {"view": "new", "live": "", "q": "", "title": "New job"}
    template = "job/_form.html" if "hx-request" in request.headers else "new.html"
    return ask.desk.renderer.page(template, context, gzipped=takes_gzip(request))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(f"{text[:50]!r} is no job's id") from None
