"""`/jobs/{id}`: one job, its story, its documents, its relatives; cancel and retry."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.store.dashboard import Relative
from distriqueue.store.logs import LogReader
from gateway.api import jobs as api
from gateway.api.explain import explain
from gateway.dashboard.answers import PageRoute, done, page
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.documents import shown
from gateway.dashboard.graph import MOST, lay_out
from gateway.dashboard.timeline import tell
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

JobIdOf = Annotated[UUID, Path(alias="jobId")]
EVENTS: Final = 300
KEPT_LINES: Final = 1_000
"""No attempt's log has more."""
LINES: Final = 200
"""The newest ones are shown."""


async def _read(ask: Ask) -> Context:
    parts, job_id = ask.parts, UUID(ask.param("id"))
    job = await parts.reader.get(job_id)
    facts = await parts.explain.facts(job_id)
    events = await parts.events.of_job(job_id, EVENTS + 1)
    chapters = tell(events[:EVENTS], await parts.reader.attempts(job_id), ask.now)
    here = Relative(job.id, job.type, job.status)
    parents = await ask.desk.store.relatives(job.depends_on[: MOST + 1]) if job.depends_on else []
    children = await ask.desk.store.children(job_id, limit=MOST + 1)
    error: dict[str, Any] | None = from_json(job.error) if job.error else None
    log = LogReader(parts.database)
    lines = await log.of_job(job_id, KEPT_LINES, attempt=job.attempt) or await log.of_job(job_id, KEPT_LINES)
    return {
        "title": f"{job.type} {str(job.id)[-8:]}",
        "job": job,
        "reasons": explain(facts, broker_connected=parts.broker.connected),
        "chapters": chapters,
        "more_events": len(events) > EVENTS,
        "lines": lines[-LINES:],
        "more_lines": len(lines) > LINES,
        "graph": lay_out(here, parents, children),
        "error": error,
        "payload": shown(job.payload),
        "result": shown(job.result),
        "metadata": shown(job.metadata),
        "deliveries": await parts.webhooks.of_job(job_id) if job.callback_url else [],
    }


VIEW: Final = View(
    "job",
    "job.html",
    _read,
    {
        "head": "job/_head.html",
        "why": "job/_why.html",
        "story": "job/_story.html",
        "outcome": "job/_outcome.html",
        "log": "job/_log.html",
        "facts": "job/_facts.html",
        "relatives": "job/_relatives.html",
    },
    pace_s=0.5,
)


@router.get("/jobs/{jobId:uuid}", include_in_schema=False)
async def job(job_id: JobIdOf, request: Request) -> Response:
    """Show one job."""
    return await page(request, VIEW, id=job_id)


@router.post("/jobs/{jobId:uuid}/cancel", include_in_schema=False)
async def cancel(job_id: JobIdOf, request: Request) -> Response:
    """Cancel it, or tell its worker to."""
    ask = ask_of(request, id=job_id)
    answer = await api.cancel_job(job_id, ask.parts, request)
    said = "its worker is told to stop it" if answer.status_code == 202 else "it is cancelled"
    return await done(ask, _shown_view(ask), f"{str(job_id)[-8:]}: {said}")


@router.post("/jobs/{jobId:uuid}/retry", include_in_schema=False)
async def retry(job_id: JobIdOf, request: Request) -> Response:
    """Run it again."""
    ask = ask_of(request, id=job_id)
    await api.retry_job(job_id, ask.parts, request)
    return await done(ask, _shown_view(ask), f"{str(job_id)[-8:]}: it runs again")


def _shown_view(ask: Ask) -> View | None:
    """Return the view to fill at once: the job's, unless its row in a list was acted on, which the stream fills."""
    return None if ask.param("from") == "list" else VIEW
