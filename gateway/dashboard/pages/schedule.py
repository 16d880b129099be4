"""`/schedules/new` and `/schedules/{name}/edit`: the form of a schedule, and what its cron line means."""

import asyncio
import json
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import quote
from zoneinfo import available_timezones

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import DistriQueueError, InvalidRequest
from distriqueue.cron import Cron
from distriqueue.store.schedules import Plan
from gateway.api.access import audit
from gateway.api.plan import ScheduleName, read_change, read_plan
from gateway.dashboard.answers import PageRoute, takes_gzip
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.documents import editable
from gateway.dashboard.forms import Fields, job_context, number, payload, posted, tags
from gateway.dashboard.redaction import HIDDEN, restored
from gateway.dashboard.render import HEADERS

router: Final = APIRouter(route_class=PageRoute)

NameOf = Annotated[ScheduleName, Path(alias="name")]
FIRES: Final = 4
NEW: Final = Plan(name="", cron="", type="")


@router.get("/schedules/new", include_in_schema=False)
async def new(request: Request) -> Response:
    """Show an empty form."""
    return await _form(request, _fields(NEW))


@router.post("/schedules/new", include_in_schema=False)
async def create(request: Request) -> Response:
    """Store the schedule, and go back to the list; or say in the form what is wrong."""
    ask = ask_of(request)
    fields = _known(await posted(request))
    try:
        plan = read_plan({"name": fields["name"].strip(), **_body(fields, original="{}")})
        await audit(request, "schedule.create", plan.name, cron=plan.cron, timezone=plan.timezone, type=plan.type)
        await ask.parts.schedules.create(plan)
    except DistriQueueError as exc:
        return await _form(request, fields, error=exc)
    return _to_the_list()


@router.get("/schedules/preview", include_in_schema=False)
async def preview(request: Request) -> Response:
    """Say when a cron line fires."""
    ask = ask_of(request)
    context = ask.context | await _preview(ask, ask.param("cron"), ask.param("timezone"))
    return ask.desk.renderer.page("schedules/_preview.html", context)


@router.get("/schedules/{name}/edit", include_in_schema=False)
async def edit(name: NameOf, request: Request) -> Response:
    """Show the form as the schedule is."""
    ask = ask_of(request)
    return await _form(request, _fields((await ask.parts.schedules.get(name)).plan), name=name)


@router.post("/schedules/{name}/edit", include_in_schema=False)
async def change(name: NameOf, request: Request) -> Response:
    """Change what is otherwise than it was, and go back to the list; or say in the form what is wrong."""
    ask = ask_of(request)
    fields = _known(await posted(request))
    plan = (await ask.parts.schedules.get(name)).plan
    try:
        body = _body(fields, original=plan.payload_json or "{}")
        changes = {key: value for key, value in read_change(body).items() if value != getattr(plan, key)}
        if changes:
            await audit(request, "schedule.change", name, fields=sorted(changes))
            await ask.parts.schedules.update(name, **changes)
    except DistriQueueError as exc:
        return await _form(request, fields, name=name, error=exc)
    return _to_the_list()


async def _form(request: Request, fields: Fields, *, name: str = "", error: DistriQueueError | None = None) -> Response:
    ask = ask_of(request)
    context = ask.context | job_context(ask, fields, error) | await _preview(ask, fields["cron"], fields["timezone"])
    context |= {"view": "schedule", "live": "", "q": "", "title": name or "New schedule", "name": name}
    context |= {"zones": _zones(), "action": f"/schedules/{quote(name, safe='')}/edit" if name else "/schedules/new"}
    template = "schedules/_form.html" if "hx-request" in request.headers else "schedule.html"
    return ask.desk.renderer.page(template, context, gzipped=takes_gzip(request))


async def _preview(ask: Ask, cron: str, timezone: str) -> dict[str, Any]:
    if not cron.strip():
        return {"fires": [], "unread": ""}
    try:
        return {"fires": await asyncio.to_thread(_fires, cron, timezone, ask.now), "unread": ""}
    except InvalidRequest as exc:
        return {"fires": [], "unread": exc.message}


def _fires(cron: str, timezone: str, now: datetime) -> list[datetime]:
    return list(islice(Cron.parse(cron.strip(), timezone.strip() or "UTC").after(now), FIRES))


@cache
def _zones() -> tuple[str, ...]:
    return tuple(sorted(name for name in available_timezones() if not name.startswith(("Etc/", "SystemV/"))))


def _fields(plan: Plan) -> Fields:
    return {
        "name": plan.name,
        "cron": plan.cron,
        "timezone": plan.timezone,
        "type": plan.type,
        "priority": plan.priority.value,
        "payload": editable(plan.payload_json),
        "maxRetries": str(plan.max_retries),
        "executionTimeout": f"{plan.execution_timeout_s:g}",
        "tags": ", ".join(plan.tags),
        "overlap": plan.overlap,
        "misfireGrace": f"{plan.misfire_grace_s:g}",
    }


def _known(given: Fields) -> Fields:
    return {name: given.get(name, value) for name, value in _fields(NEW).items()}


def _body(fields: Fields, *, original: str) -> dict[str, Any]:
    """Return what the API would be told; what was hidden in the payload and not touched is put back."""
    document = payload(fields)
    if HIDDEN in fields["payload"]:
        document = restored(document, json.loads(original))
    return {
        "cron": fields["cron"].strip(),
        "timezone": fields["timezone"].strip() or "UTC",
        "type": fields["type"].strip(),
        "priority": fields["priority"],
        "payload": document,
        "maxRetries": number(fields, "maxRetries"),
        "executionTimeout": number(fields, "executionTimeout"),
        "tags": tags(fields),
        "overlap": fields["overlap"],
        "misfireGrace": number(fields, "misfireGrace"),
    }


def _to_the_list() -> Response:
    return Response(headers={**HEADERS, "HX-Redirect": "/schedules"})
