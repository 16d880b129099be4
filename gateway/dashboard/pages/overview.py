"""`/`: the four signals, throughput and latency, lanes, the cluster, workers."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.dashboard.answers import PageRoute, page
from gateway.dashboard.charts import hour_figures, lane_history, sparkline
from gateway.dashboard.desk import Ask
from gateway.dashboard.pages.cluster import strip
from gateway.dashboard.sampler import WATCHED_S
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

RATE_S: Final = 60.0
FAILURES_S: Final = 900.0
SHOWN_WORKERS: Final = 12
LATE_S: Final = (30.0, 300.0)
"""From when on the oldest waiting job is a warning, and an alarm."""
BUSY: Final = (0.85, 0.999)
FAILING: Final = (0.01, 0.1)


async def _read(ask: Ask) -> Context:
    sampler = ask.desk.sampler
    sample = await sampler.watch()
    points = sampler.points()
    recent, quarter = sampler.rates(RATE_S), sampler.rates(FAILURES_S)
    throughput = None if recent is None else recent.ended_per_min
    failing = None if quarter is None else quarter.failure_share
    signals: list[dict[str, Any]] = [
        {
            "name": "Oldest waiting",
            "kind": "span",
            "value": sample.oldest_s or None,
            "level": _level(sample.oldest_s, LATE_S),
            "note": "the job that has waited longest" if sample.oldest_s else "nothing waits",
            "spark": sparkline([point.oldest_s for point in points]),
        },
        {
            "name": "Throughput",
            "kind": "rate",
            "value": throughput,
            "level": "",
            "note": "jobs ended, over the last minute",
            "spark": sparkline([point.rates.ended_per_min for point in points]),
        },
        {
            "name": "Failure rate",
            "kind": "percent",
            "value": failing,
            "level": _level(failing, FAILING),
            "note": "of what ended in the last 15 minutes",
            "spark": sparkline([point.rates.failure_share for point in points]),
        },
        {
            "name": "Saturation",
            "kind": "percent",
            "value": sample.saturation,
            "level": _level(sample.saturation, BUSY) if sample.living else "bad",
            "note": _places(sample.living),
            "spark": sparkline([point.saturation for point in points]),
        },
    ]
    workers = sorted(sample.living, key=lambda row: (-row["load"] / max(row["capacity"], 1), row["id"]))
    return {
        "title": "Overview",
        "signals": signals,
        "sample": sample,
        "stored": sample.figures.stored,
        "total": sum(sample.figures.stored.values()),
        "lanes": [(lane, lane_history(points, lane.priority)) for lane in sample.lanes],
        "workers": workers[:SHOWN_WORKERS],
        "more_workers": max(len(workers) - SHOWN_WORKERS, 0),
        "figures": hour_figures(points),
        "points": len(points),
    } | await strip(ask)


def _level(value: float | None, levels: tuple[float, float]) -> str:
    if value is None or value < levels[0]:
        return ""
    return "warn" if value < levels[1] else "bad"


def _places(living: list[Any]) -> str:
    if not living:
        return "no worker is alive"
    load, capacity = sum(row["load"] for row in living), sum(row["capacity"] for row in living)
    return f"{load:,} of {capacity:,} places taken"


VIEW: Final = View(
    "overview",
    "overview.html",
    _read,
    {
        "signals": "overview/_signals.html",
        "stored": "overview/_stored.html",
        "lanes": "overview/_lanes.html",
        "strip": "cluster/_strip.html",
        "workers": "overview/_workers.html",
        "figures": "overview/_figures.html",
    },
    pace_s=WATCHED_S,
)


@router.get("/", include_in_schema=False)
async def overview(request: Request) -> Response:
    """Show the state of everything."""
    return await page(request, VIEW)
