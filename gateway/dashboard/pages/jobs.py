"""`/jobs`: the list by a filter, its facets, completion, and cancel and retry of all that match."""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from distriqueue.core.errors import DistriQueueError, InvalidRequest
from distriqueue.core.states import TERMINAL
from distriqueue.filterlang import completions
from distriqueue.store.reads import Count, Job, JobFilter, Position
from gateway.api.access import audit
from gateway.api.actions import noted
from gateway.api.query import JobSelection, checked, read_cursor, write_cursor
from gateway.bulk import LIMIT, Action
from gateway.dashboard.answers import PageRoute, done, page, takes_gzip
from gateway.dashboard.desk import Ask, ask_of, known_values
from gateway.dashboard.filters import facets, href, read
from gateway.dashboard.live import Notice
from gateway.dashboard.views import Context, Regions, View

router: Final = APIRouter(route_class=PageRoute)

SIZE: Final = 50
LOOK_S: Final = 0.2
NEWS_S: Final = 2.0
MANY_NEWS: Final = 1_000
MANY_NEWS_S: Final = 10.0
"""So seldom jobs are counted when so many are new: each count is as dear as they are many, and nobody reads them."""
ALL_ROWS_S: Final = 6.0
MOST_ROWS: Final = 100
COMPLETIONS: Final = 12


async def _read(ask: Ask) -> Context:
    asked = read(ask.param("q"))
    cursor = ask.param("cursor")
    jobs: list[Job] = []
    following: Position | None = None
    count = Count(0, exact=True)
    if asked.error is None:
        where = asked.where(ask.now)
        after = _position(cursor)
        jobs, following = await _found(ask, where, after)
        count = await _count(ask, where, jobs, first=after is None and following is None)
    newest = write_cursor(Position(jobs[0].created_at, jobs[0].id)) if jobs else ""
    rows = ",".join(str(job.id) for job in jobs)
    at = f"{ask.now.timestamp():.0f}"
    live = {"q": asked.text, "rows": rows, "newest": "" if cursor else newest, "at": "" if cursor else at}
    return {
        "title": "Jobs",
        "asked": asked,
        "q": asked.text,
        "jobs": jobs,
        "total": count,
        "looked_until": None if following is None else following.created_at,
        "older": None if following is None else _page(asked.text, write_cursor(following)),
        "newer": href(asked.text) if cursor else None,
        "live": f"/live/jobs?{urlencode({name: value for name, value in live.items() if value})}",
        "here": href(asked.text),
        "facets_url": f"/jobs/facets?{urlencode({'q': asked.text})}",
    }


async def _found(ask: Ask, where: JobFilter, after: Position | None) -> tuple[list[Job], Position | None]:
    """Return a page, and look for what is rare for LOOK_S: the store looks at so many jobs at once, and no more."""
    until_s = time.monotonic() + LOOK_S
    jobs, following = await ask.parts.reader.page(where, size=SIZE, after=after)
    while len(jobs) < SIZE and following is not None and time.monotonic() < until_s:
        more, following = await ask.parts.reader.page(where, size=SIZE - len(jobs), after=following)
        jobs += more
    return jobs, following


async def _count(ask: Ask, where: JobFilter, jobs: list[Job], *, first: bool) -> Count:
    if first:
        return Count(len(jobs), exact=True)
    sample = ask.desk.sampler.latest
    if where == JobFilter() and sample is not None:
        return Count(sum(sample.figures.stored.values()), exact=True)
    return await ask.parts.reader.count(where)


def _page(text: str, cursor: str) -> str:
    return f"/jobs?{urlencode({'q': text, 'cursor': cursor} if text else {'cursor': cursor})}"


async def _follow(ask: Ask) -> AsyncIterator[Regions]:
    """Fill the rows that have changed, and say how many jobs are new; look only for what can have changed."""
    asked = read(ask.param("q"))
    ids = [UUID(each) for each in ask.param("rows").split(",")[:MOST_ROWS] if each]
    newest = _newest(ask)
    known: dict[UUID, tuple[Any, ...]] = {}
    open_ids = set(ids)
    all_at_s = news_at_s = 0.0
    notice = Notice(ask)
    while True:
        now_s = time.monotonic()
        regions: Regions = notice.none()
        try:
            wanted = set(ids) if now_s >= all_at_s else open_ids
            if now_s >= all_at_s:
                all_at_s = now_s + ALL_ROWS_S
            for job in await _rows(ask, wanted):
                state = (job.status, job.attempt, job.progress, job.progress_message, job.cancel_requested)
                if known.get(job.id, state) != state or job.id not in known:
                    regions[f"job-{job.id}"] = ask.desk.renderer.text("jobs/_cells.html", ask.context | {"job": job})
                known[job.id] = state
                (open_ids.discard if job.status in TERMINAL else open_ids.add)(job.id)
            if newest is not None and asked.error is None and now_s >= news_at_s:
                since = replace(asked.where(ask.now), created_from=newest)
                news = await ask.parts.reader.count(since)
                news_at_s = now_s + (NEWS_S if news.jobs < MANY_NEWS else MANY_NEWS_S)
                context = {"news": news, "here": href(asked.text)}
                regions["news"] = ask.desk.renderer.text("jobs/_news.html", context)
        except DistriQueueError as exc:
            regions = notice.of(exc)
        yield regions


def _newest(ask: Ask) -> datetime | None:
    """Return from when on jobs are new: after the first of the list, or after the page was made, if it is empty."""
    first = _position(ask.param("newest"))
    if first is not None:
        return first.created_at + timedelta(microseconds=1)
    at = ask.param("at")
    return datetime.fromtimestamp(int(at), UTC) if at.isascii() and at.isdigit() and len(at) <= 11 else None


def _position(cursor: str) -> Position | None:
    return read_cursor(cursor) if re.fullmatch(r"[A-Za-z0-9_-]{32}", cursor) else None


async def _rows(ask: Ask, ids: set[UUID]) -> list[Job]:
    if not ids:
        return []
    jobs, _ = await ask.parts.reader.page(JobFilter(ids=tuple(ids)), size=MOST_ROWS)
    return jobs


VIEW: Final = View("jobs", "jobs.html", _read, follow=_follow, pace_s=1.0)


@router.get("/jobs", include_in_schema=False)
async def jobs(request: Request) -> Response:
    """List jobs by a filter."""
    return await page(request, VIEW)


@router.get("/jobs/facets", include_in_schema=False)
async def job_facets(request: Request) -> Response:
    """Count what the list could be narrowed to."""
    ask = ask_of(request)
    await ask.desk.sampler.watch()
    asked = read(ask.param("q"))
    found = {} if asked.error is not None else await facets(ask, asked)
    return ask.desk.renderer.page("jobs/_facets.html", ask.context | {"facets": found}, gzipped=takes_gzip(request))


@router.get("/jobs/complete", include_in_schema=False)
async def complete(request: Request) -> Response:
    """Return what the filter that is being typed may become."""
    ask = ask_of(request)
    return JSONResponse(completions(ask.param("text"), known_values(ask.desk))[:COMPLETIONS])


@router.get("/jobs/bulk", include_in_schema=False)
async def ask_bulk(request: Request) -> Response:
    """Count what would be cancelled or retried, and ask whether to."""
    ask = ask_of(request)
    action, where = _order(ask)
    counted = await ask.parts.bulk.count(action, where, limit=LIMIT)
    context = ask.context | {"action": action, "q": ask.param("q"), "counted": counted, "limit": LIMIT}
    return ask.desk.renderer.page("jobs/_bulk.html", context)


@router.post("/jobs/bulk", include_in_schema=False)
async def bulk(request: Request) -> Response:
    """Cancel or retry what matches."""
    ask = ask_of(request)
    action, where = _order(ask)
    selection = checked(JobSelection, read(ask.param("q")).filter.selection(ask.now))
    await audit(request, f"jobs.{action}", "jobs", filter=noted(selection), limit=LIMIT)
    outcome = await ask.parts.bulk.run(action, where, limit=LIMIT)
    verb = "cancelled, or told to stop" if action == "cancel" else "retried"
    skipped = outcome.matched - outcome.changed
    said = f"{outcome.changed:,} jobs {verb}"
    said += f"; {skipped:,} had changed meanwhile" if skipped else ""
    said += "; there are more: do it again" if outcome.more else ""
    return await done(ask, None, said, tone="warn" if outcome.more else "good")


def _order(ask: Ask) -> tuple[Action, JobFilter]:
    action = ask.param("action")
    if action not in ("cancel", "retry"):
        raise InvalidRequest("the action is cancel or retry")
    asked = read(ask.param("q"))
    if asked.error is not None:
        raise asked.error
    return cast("Action", action), asked.where(ask.now)
