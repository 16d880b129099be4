"""Rows that several statements return alike."""

from typing import Any

from pydantic_core import from_json

from distriqueue.core.job import JobId, Priority
from distriqueue.core.messages import Dispatch


def dispatch_of(row: Any) -> Dispatch:
    """Read a row with a dispatch's columns."""
    return Dispatch(
        job_id=JobId(row["id"]),
        attempt=row["attempt"],
        type=row["type"],
        priority=Priority(row["priority"]),
        payload=from_json(row["payload"]),
        execution_timeout_s=row["execution_timeout_s"],
        trace=row.get("trace"),
    )
