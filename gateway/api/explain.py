"""`GET /jobs/{id}/explain`: why a job is where it is, in sentences for people and codes for programs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic_core import from_json
from starlette.responses import Response

from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.store.explain import COUNTED, Facts
from gateway.api import views
from gateway.api.jobs import NOT_FOUND, JobIdOf, PartsOf
from gateway.api.submit import JSON

router: Final = APIRouter(prefix="/jobs", tags=["jobs"])

STRANDED_S: Final = 3.0
"""So long pending, and a dispatch is late: the broker is away, or nobody leads."""

Said = tuple[str, str, dict[str, Any]]


class Reason(views.View):
    """One thing that a job waits for, or that has happened to it."""

    code: str
    message: str
    details: dict[str, Any]


class Explanation(views.View):
    """Why a job is where it is."""

    job_id: UUID
    status: Status
    summary: str
    reasons: list[Reason]


@router.get("/{jobId:uuid}/explain", summary="Why is it where it is?", response_model=Explanation, responses=NOT_FOUND)
async def explain_job(job_id: JobIdOf, parts: PartsOf) -> Response:
    """Say what the job waits for, and since when; of one that is over, how it ended."""
    facts = await parts.explain.facts(job_id)
    reasons = list(explain(facts, broker_connected=parts.broker.connected))
    answer = {
        "jobId": job_id,
        "status": facts.job.status,
        "summary": "; ".join(message for _, message, _ in reasons),
        "reasons": [{"code": code, "message": message, "details": details} for code, message, details in reasons],
    }
    return Response(views.dumps(answer), media_type=JSON)


def explain(facts: Facts, *, broker_connected: bool) -> Iterator[Said]:
    """Say it; at least one reason for every status."""
    match facts.job.status:
        case "scheduled":
            yield _due("not_due", "is due", facts)
        case "retrying":
            yield _retry(facts)
        case "blocked":
            yield from _blocked(facts)
        case "pending":
            yield from _lane(facts)
            yield _pending(facts, broker_connected=broker_connected)
            yield from _takers(facts)
        case "queued":
            yield from _lane(facts)
            yield _queued(facts)
            yield from _takers(facts)
        case "running":
            yield from _running(facts)
        case _:
            yield _over(facts)
    expires_at = facts.job.expires_at
    if expires_at is not None and facts.job.finished_at is None:
        message = f"it ends as timeout unless it starts within {_seconds(facts.now, expires_at)} s"
        yield "expires", message, {"expiresAt": expires_at}


def _due(code: str, what: str, facts: Facts) -> Said:
    due_at = facts.job.due_at or facts.now
    return code, f"it {what} in {_seconds(facts.now, due_at)} s", {"dueAt": due_at}


def _retry(facts: Facts) -> Said:
    job = facts.job
    _, message, details = _due("backoff", "is tried again", facts)
    error = _error(job.error)
    lost = job.losses > 0 and job.failures == 0
    count = "after its worker was lost" if lost else f"retry {job.failures} of {job.max_retries}"
    said = f"{count}: {message}; the last attempt: {error['message']}"
    details |= {"failures": job.failures, "maxRetries": job.max_retries, "losses": job.losses, "lastError": error}
    return "backoff", said, details


def _blocked(facts: Facts) -> Iterator[Said]:
    job = facts.job
    if facts.waits_for:
        parents = facts.parents or {}
        named = ", ".join(f"{parent} ({status})" for parent, status in parents.items())
        more = f" and {facts.waits_for - len(parents)} more" if facts.waits_for > len(parents) else ""
        details = {
            "waitsFor": facts.waits_for,
            "parents": [{"jobId": parent, "status": status} for parent, status in parents.items()],
        }
        yield "waits_for_parents", f"it waits for the end of {named}{more}", details
    if facts.slots is not None:
        slots = facts.slots
        message = (
            f"the concurrency key {job.concurrency_key!r} lets {job.concurrency_limit} in and {slots.held} are;"
            f" {_count(slots.ahead)} stand in line before it"
        )
        details = {
            "concurrencyKey": job.concurrency_key,
            "concurrencyLimit": job.concurrency_limit,
            "held": slots.held,
            "heldBy": slots.holders,
            "ahead": slots.ahead,
        }
        yield "waits_for_slot", message, details
    elif not facts.waits_for:
        yield "about_to_go_on", "nothing holds it any more: it goes on within a second", {}


def _lane(facts: Facts) -> Iterator[Said]:
    if facts.lane is not None and facts.lane.paused:
        queue = Priority(facts.lane.name).queue
        why = f" ({facts.lane.reason})" if facts.lane.reason else ""
        yield "queue_paused", f"the queue {queue} is paused{why}", {"queue": queue, "reason": facts.lane.reason}


def _pending(facts: Facts, *, broker_connected: bool) -> Said:
    job = facts.job
    waited_s = _seconds(job.ready_at, facts.now)
    if facts.rate_slot is not None and facts.rate_slot > facts.now:
        message = f"the rate limit of its type lets it start in {_seconds(facts.now, facts.rate_slot)} s"
        return "rate_limited", message, {"startsAt": facts.rate_slot}
    if job.ready_at > facts.now:
        message = f"it is spread over time, and goes on in {_seconds(facts.now, job.ready_at)} s"
        return "spread", message, {"readyAt": job.ready_at}
    if not broker_connected:
        return "broker_down", "the broker does not answer: it is sent when that is back", {"pendingSeconds": waited_s}
    ahead = facts.lane.ahead if facts.lane else 0
    details = {"pendingSeconds": waited_s, "ahead": ahead}
    if waited_s < STRANDED_S:
        return "about_to_be_sent", "it is about to be handed to the broker", details
    message = (
        f"it has waited {waited_s} s to be handed to the broker, {_count(ahead)} of its priority before it:"
        " the leading orchestrator sends it; see `distriqueue cluster status`"
    )
    return "waits_for_dispatcher", message, details


def _queued(facts: Facts) -> Said:
    ahead = facts.lane.ahead if facts.lane else 0
    queued_s = _seconds(facts.job.queued_at or facts.now, facts.now)
    message = f"it is in the queue, {_count(ahead)} of its priority before it, for {queued_s} s"
    return "in_queue", message, {"ahead": ahead, "queuedSeconds": queued_s}


def _takers(facts: Facts) -> Iterator[Said]:
    takers, type_ = facts.takers, facts.job.type
    if takers is None:
        return
    details = {"workers": takers.workers, "handling": takers.handling, "capacity": takers.capacity, "load": takers.load}
    if takers.workers == 0:
        yield "no_worker", "no worker is alive", details
    elif takers.handling == 0:
        yield "no_worker_for_type", f"none of the {takers.workers} living workers handles the type {type_!r}", details
    elif takers.load >= takers.capacity:
        yield "workers_busy", f"all {takers.capacity} slots of the workers for {type_!r} are taken", details


def _running(facts: Facts) -> Iterator[Said]:
    job = facts.job
    started_at = job.started_at or facts.now
    details = {"workerId": job.worker_id, "startedAt": started_at, "progress": job.progress, "attempt": job.attempt}
    left_s = round(job.execution_timeout_s - (facts.now - started_at).total_seconds(), 1)
    progress = "" if job.progress is None else f", and is at {job.progress:g} %"
    said = f"{job.worker_id} runs it for {_seconds(started_at, facts.now)} s{progress}; {left_s} s are left"
    yield "running", said, details
    if job.cancel_requested:
        yield "cancel_requested", "its cancel was asked for: the worker is told with its next heartbeat", {}
    if facts.worker is None:
        yield "worker_never_heard", f"no orchestrator has heard of {job.worker_id} yet", {}
    elif facts.worker.state in ("UNRESPONSIVE", "STOPPED"):
        message = f"its worker is {facts.worker.state}: the attempt is taken from it and made anew"
        yield "worker_lost", message, {"state": facts.worker.state, "lastSeen": facts.worker.last_seen}


def _over(facts: Facts) -> Said:
    job = facts.job
    error = _error(job.error)
    details: dict[str, Any] = {"finishedAt": job.finished_at, "attempt": job.attempt, "failures": job.failures}
    if job.status == "completed":
        return "completed", f"it completed with attempt {job.attempt}", details
    details |= {"error": error}
    code = {"ParentFailed": "parent_failed", "BatchStopped": "batch_stopped", "NotStarted": "expired"}
    why = f": {error['message']}" if error["message"] else ""
    if job.status == "cancelled":
        by = "it was cancelled" if why else "it was cancelled by a client"
        return code.get(str(error["type"]), "cancelled"), f"{by}{why}", details
    tried = f" after {job.failures} failed attempts" if job.failures else ""
    return code.get(str(error["type"]), job.status), f"it ended as {job.status}{tried}{why}", details


def _error(text: str | None) -> dict[str, Any]:
    error = from_json(text) if text else {}
    return {"type": error.get("type"), "message": error.get("message")}


def _count(count: int) -> str:
    return f"at least {count}" if count >= COUNTED else str(count)


def _seconds(start: datetime, end: datetime) -> float:
    return round(max((end - start).total_seconds(), 0.0), 1)
