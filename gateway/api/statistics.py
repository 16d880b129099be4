"""Figures over jobs, shaped from the store's grouping sets."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from gateway.api.views import View

GROUPS: Final = ("status", "type", "priority", "worker_id", "hour")


class Group(View):
    """The jobs of one type, priority or worker."""

    name: str
    total: int
    completed: int
    failed: int
    average_queue_time_ms: float | None
    average_execution_time_ms: float | None


class Hour(View):
    """The jobs that finished in one hour."""

    hour: datetime
    finished: int
    completed: int
    failed: int


class Statistics(View):
    """Figures over the jobs created in a span of time."""

    total: int
    by_status: dict[str, int]
    success_rate: float | None
    average_queue_time_ms: float | None
    average_execution_time_ms: float | None
    by_type: list[Group]
    by_priority: list[Group]
    by_worker: list[Group]
    hourly: list[Hour]


def statistics_view(rows: Iterable[Any]) -> dict[str, Any]:
    """Sort the rows of `GROUPING SETS ((), (status), (type), (priority), (worker_id), (hour))` into one answer."""
    overall: Any = None
    sets: dict[str, list[Any]] = {name: [] for name in GROUPS}
    for row in rows:
        name = _grouped_by(row["absent"])
        if name is None:
            overall = row
        elif row[name] is not None:
            sets[name].append(row)
    ended = overall["completed"] + overall["failed"]
    return {
        "total": overall["jobs"],
        "byStatus": {row["status"]: row["jobs"] for row in sets["status"]},
        "successRate": overall["completed"] / ended if ended else None,
        "averageQueueTimeMs": overall["queue_ms"],
        "averageExecutionTimeMs": overall["execution_ms"],
        "byType": _groups(sets["type"], "type"),
        "byPriority": _groups(sets["priority"], "priority"),
        "byWorker": _groups(sets["worker_id"], "worker_id"),
        "hourly": [
            {"hour": row["hour"], "finished": row["jobs"], "completed": row["completed"], "failed": row["failed"]}
            for row in sorted(sets["hour"], key=lambda row: row["hour"])
        ],
    }


def _grouped_by(absent: int) -> str | None:
    """Decode GROUPING(): a bit per column, first column highest, set when the row is not grouped by it."""
    present = [name for bit, name in enumerate(reversed(GROUPS)) if not absent >> bit & 1]
    return present[0] if present else None


def _groups(rows: list[Any], name: str) -> list[dict[str, Any]]:
    return [
        {
            "name": row[name],
            "total": row["jobs"],
            "completed": row["completed"],
            "failed": row["failed"],
            "averageQueueTimeMs": row["queue_ms"],
            "averageExecutionTimeMs": row["execution_ms"],
        }
        for row in sorted(rows, key=lambda row: (-row["jobs"], row[name]))
    ]
