"""Figures over jobs, shaped from the store's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from distriqueue.store.statistics import MAX_TAIL, Figures, Tally
from gateway.api.views import View


class Group(View):
    """The jobs of one type or priority, by when they were submitted and ended; a worker's attempts, by their start."""

    name: str
    total: int
    completed: int
    failed: int
    average_queue_time_ms: float | None
    average_execution_time_ms: float | None


class Hour(View):
    """What happened in one hour."""

    hour: datetime
    submitted: int
    finished: int
    completed: int
    failed: int


class Statistics(View):
    """Figures over a span of time."""

    total: int
    by_status: dict[str, int]
    success_rate: float | None
    average_queue_time_ms: float | None
    average_execution_time_ms: float | None
    by_type: list[Group]
    by_priority: list[Group]
    by_worker: list[Group]
    hourly: list[Hour]
    exact: bool
    """False while too much waits to be summed up: no orchestrator leads, or it cannot keep up."""


def statistics_view(figures: Figures) -> dict[str, Any]:
    """Show the figures; hours and statuses with nothing in them are left out."""
    overall = figures.overall
    ended = overall.completed + overall.failed
    return {
        "total": sum(figures.stored.values()),
        "byStatus": figures.stored,
        "successRate": overall.completed / ended if ended else None,
        "averageQueueTimeMs": overall.average_queue_ms,
        "averageExecutionTimeMs": overall.average_run_ms,
        "byType": _groups(figures.by_type),
        "byPriority": _groups(figures.by_priority),
        "byWorker": _groups(figures.by_worker),
        "hourly": [_hour(hour, tally) for hour, tally in sorted(figures.by_hour.items())],
        "exact": figures.behind < MAX_TAIL,
    }


def _groups(tallies: Mapping[str, Tally]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "total": tally.jobs,
            "completed": tally.completed,
            "failed": tally.failed,
            "averageQueueTimeMs": tally.average_queue_ms,
            "averageExecutionTimeMs": tally.average_run_ms,
        }
        for name, tally in sorted(tallies.items(), key=lambda item: (-item[1].jobs, item[0]))
    ]


def _hour(hour: datetime, tally: Tally) -> dict[str, Any]:
    return {
        "hour": hour,
        "submitted": tally.jobs,
        "finished": tally.completed + tally.failed + tally.cancelled,
        "completed": tally.completed,
        "failed": tally.failed,
    }
