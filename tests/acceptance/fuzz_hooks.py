"""What the OpenAPI document cannot say, for schemathesis: keys are used once, parents must exist, cron must be cron."""

from collections.abc import Iterable
from typing import Any, Final
from uuid import uuid4

import schemathesis

LITERAL: Final = ("stream", "batch", "status", "statistics", "actions")
IDEMPOTENCY: Final = "Idempotency-Key"


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Make a request that is meant to be good one that can be; leave the bad ones as they are."""
    if case.path_parameters and case.path_parameters.get("jobId") in LITERAL:
        case.path_parameters["jobId"] = "none"  # that would be another operation's path
    if case.meta is None or not case.meta.generation.mode.is_positive:
        if case.path == "/api/jobs/batch" and isinstance(case.body, dict) and case.body.get("partial") is True:
            case.body["partial"] = False  # a partial batch may hold anything
        return
    case.body = _without_nul(case.body)
    if case.headers and IDEMPOTENCY in case.headers:
        case.headers[IDEMPOTENCY] = str(uuid4())
    if case.path == "/api/jobs" and isinstance(case.body, dict):
        _mend_job(case.body)
    elif case.path == "/api/jobs/batch":
        _mend_batch(case.body)
    elif case.path.startswith("/api/schedules") and isinstance(case.body, dict):
        _mend_schedule(case.body)
    elif case.path == "/api/jobs/actions" and isinstance(case.body, dict):
        case.body["filter"] = case.body.get("filter") or {"type": ["calculate"]}
        case.body["all"] = True
    elif case.path == "/api/dead-letters/replay" and isinstance(case.body, dict):
        case.body["type"] = case.body.get("type") or "calculate"


def _without_nul(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "")
        case dict():
            return {_without_nul(key): _without_nul(item) for key, item in value.items()}
        case list():
            return [_without_nul(item) for item in value]
        case _:
            return value


def _mend_job(job: dict[str, Any]) -> None:
    job["type"] = str(job.get("type", "calculate")).replace("distriqueue.", "")
    job.pop("dependsOn", None)
    job.pop("parentJobId", None)
    if job.get("concurrencyKey") is None:
        job.pop("concurrencyLimit", None)


def _mend_batch(batch: Any) -> None:
    jobs: Iterable[Any] = batch.get("jobs", ()) if isinstance(batch, dict) else batch
    for job in jobs:
        if isinstance(job, dict):
            _mend_job(job)
            job.pop("id", None)
            if isinstance(batch, dict):
                job.pop("concurrencyKey", None)
                job.pop("concurrencyLimit", None)


def _mend_schedule(schedule: dict[str, Any]) -> None:
    if "cron" in schedule:
        schedule["cron"] = "0 4 * * *"
    if "type" in schedule:
        schedule["type"] = str(schedule["type"]).replace("distriqueue.", "")
    if "timezone" in schedule:
        schedule["timezone"] = "Europe/Berlin"
