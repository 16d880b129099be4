"""`GET /jobs/{id}/explain`: why a job is where it is, in sentences for people and codes for programs."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, assert_never
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from distriqueue.core.states import TERMINAL, Status
from distriqueue.store.explain import COUNTED, Facts, ParentNow
from gateway.api import views
from gateway.api.jobs import NOT_FOUND, JobIdOf, PartsOf
from gateway.api.submit import JSON, REFUSALS

router: Final = APIRouter(prefix="/jobs", tags=["jobs"], responses={503: REFUSALS[503]})

LATE_S: Final = 3.0
"""What should have gone on for so long waits for a broker, or a leader, that is away or behind."""
LEADER: Final = "the leading orchestrator"
UNITS: Final = ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (120, 60, "min"))


class Said(NamedTuple):
    """One reason."""

    code: str
    message: str
    details: dict[str, Any]


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
    """All messages in one line."""
    reasons: list[Reason]


@router.get("/{jobId:uuid}/explain", summary="Why is it where it is?", response_model=Explanation, responses=NOT_FOUND)
async def explain_job(job_id: JobIdOf, parts: PartsOf) -> Response:
    """Say what the job waits for, and since when; of one that is over, how it ended.

    A code means the same for ever; there may be new ones. Counts are exact up to 1,000, and at most 10 jobs are named.
    """
    facts = await parts.explain.facts(job_id)
    reasons = explain(facts, broker_connected=parts.broker.connected)
    answer = {
        "jobId": job_id,
        "status": facts.status,
        "summary": "; ".join(reason.message for reason in reasons),
        "reasons": [reason._asdict() for reason in reasons],
    }
    return Response(views.dumps(answer), media_type=JSON)


def explain(facts: Facts, *, broker_connected: bool) -> Sequence[Said]:
    """Say it: at least one reason, the weightiest first."""
    return [*_reasons(facts, broker_connected=broker_connected), *_expiry(facts)]


def _reasons(facts: Facts, *, broker_connected: bool) -> Iterator[Said]:
    match facts.status:
        case Status.SCHEDULED:
            yield from _due(facts, Said("not_due", "it is due", {}))
        case Status.RETRYING:
            yield from _due(facts, _backoff(facts))
        case Status.BLOCKED:
            yield _blocked(facts)
        case Status.PENDING:
            yield from _pending(facts, broker_connected=broker_connected)
            yield from _takers(facts)
        case Status.QUEUED:
            yield from _queued(facts)
            yield from _takers(facts)
        case Status.RUNNING:
            yield from _running(facts)
        case Status.COMPLETED:
            details = {"finishedAt": facts.finished_at, "attempt": facts.attempt, "workerId": facts.worker_id}
            yield Said("completed", f"it completed with attempt {facts.attempt}", details)
        case Status.FAILED | Status.TIMEOUT:
            yield _failed(facts)
        case Status.CANCELLED:
            yield _cancelled(facts)
        case _:
            assert_never(facts.status)


def _expiry(facts: Facts) -> Iterator[Said]:
    if facts.expires_at is not None and facts.finished_at is None:
        message = f"it ends as timeout unless it starts {_in(facts.now, facts.expires_at)}"
        yield Said("expires", message, {"expiresAt": facts.expires_at})


def _due(facts: Facts, said: Said) -> Iterator[Said]:
    due_at = facts.due_at or facts.now
    details = {"dueAt": due_at, "seconds": _seconds(facts.now, due_at)}
    yield Said(said.code, f"{said.message} {_in(facts.now, due_at)}", said.details | details)
    if _seconds(due_at, facts.now) > LATE_S:
        message = f"it was due {_ago(due_at, facts.now)}: {LEADER} lets it go on; see `distriqueue cluster status`"
        yield Said("waits_for_scheduler", message, {"overdueSeconds": _seconds(due_at, facts.now)})


def _backoff(facts: Facts) -> Said:
    which = f"retry {facts.failures} of {facts.max_retries}"
    if facts.error_type == "WorkerLost":
        which = f"attempt {facts.attempt} was lost with its worker"
    details = {
        "failures": facts.failures,
        "maxRetries": facts.max_retries,
        "losses": facts.losses,
        "lastError": _error(facts),
    }
    last = f" (the last attempt: {facts.error_message})" if facts.error_message else ""
    return Said("backoff", f"{which}{last}: it is tried again", details)


def _blocked(facts: Facts) -> Said:
    slots = facts.slots
    if facts.waits_for:
        ended = [parent for parent in facts.parents if parent.status in TERMINAL]
        details = {"waitsFor": facts.waits_for, "parents": _parents(facts.parents)}
        if facts.parents and len(ended) == facts.waits_for:
            return Said("about_to_go_on", "its last parent has ended, and that is being followed up", details)
        more = facts.waits_for - len(facts.parents)
        named = ", ".join(f"{parent.id} ({parent.status})" for parent in facts.parents)
        return Said(
            "waits_for_parents", f"it waits for the end of {named}{f' and {more} more' if more > 0 else ''}", details
        )
    if slots is None:
        return Said("about_to_go_on", "nothing holds it any more: it goes on within a second", {})
    message = (
        f"the concurrency key {facts.concurrency_key!r} lets {facts.concurrency_limit} in and {_count(slots.held)} are;"
        f" {_count(slots.ahead)} stand in line before it"
    )
    details = {
        "concurrencyKey": facts.concurrency_key,
        "concurrencyLimit": facts.concurrency_limit,
        "held": slots.held,
        "heldBy": slots.holders,
        "ahead": slots.ahead,
    }
    return Said("waits_for_slot", message, details)


def _pending(facts: Facts, *, broker_connected: bool) -> Iterator[Said]:
    if facts.lane.paused:
        yield _paused(facts)
    if facts.rate_slot is not None and facts.rate_slot > facts.now:
        message = f"the rate limit of the type {facts.type!r} lets it start {_in(facts.now, facts.rate_slot)}"
        yield Said("rate_limited", message, {"startsAt": facts.rate_slot})
    elif facts.ready_at > facts.now:
        message = f"it was retried with others, spread over time, and goes on {_in(facts.now, facts.ready_at)}"
        yield Said("spread", message, {"readyAt": facts.ready_at})
    elif not facts.lane.paused:
        yield _unsent(facts, broker_connected=broker_connected)


def _unsent(facts: Facts, *, broker_connected: bool) -> Said:
    waited_s = _seconds(facts.ready_at, facts.now)
    details = {"pendingSeconds": waited_s, "ahead": facts.ahead}
    if not broker_connected:
        return Said("broker_down", "the broker does not answer: it is sent when that is back", details)
    if waited_s < LATE_S:
        return Said("about_to_be_sent", "it is about to be handed to the broker", details)
    message = (
        f"it has waited {_span(waited_s)} to be handed to the broker, {_count(facts.ahead)} of its priority before it:"
        f" {LEADER} sends it; see `distriqueue cluster status`"
    )
    return Said("waits_for_dispatcher", message, details)


def _queued(facts: Facts) -> Iterator[Said]:
    if facts.lane.paused:
        yield _paused(facts)
    queued_s = _seconds(facts.queued_at or facts.now, facts.now)
    queue = facts.lane.priority.queue
    message = f"it is in the queue {queue} for {_span(queued_s)}, {_count(facts.ahead)} of its priority before it"
    yield Said("in_queue", message, {"queue": queue, "ahead": facts.ahead, "queuedSeconds": queued_s})


def _paused(facts: Facts) -> Said:
    queue, reason = facts.lane.priority.queue, facts.lane.reason
    message = f"the queue {queue} is paused{f' ({reason})' if reason else ''}"
    return Said("queue_paused", message, {"queue": queue, "reason": reason})


def _takers(facts: Facts) -> Iterator[Said]:
    takers = facts.takers
    if takers is None:
        return
    details = {"workers": takers.workers, "handling": takers.handling, "capacity": takers.capacity, "load": takers.load}
    if takers.workers == 0:
        yield Said("no_worker", "no worker is alive, or all are draining", details)
    elif takers.handling == 0:
        message = (
            f"none of {takers.workers} living workers handles the type {facts.type!r}: whichever takes it fails it"
        )
        yield Said("no_worker_for_type", message, details)
    elif takers.load >= takers.capacity:
        message = (
            f"the workers that handle the type {facts.type!r} are busy: {takers.load} jobs in {takers.capacity} places"
        )
        yield Said("workers_busy", message, details)


def _running(facts: Facts) -> Iterator[Said]:
    started_at, worker = facts.started_at or facts.now, facts.worker
    timeout_at = started_at + timedelta(seconds=facts.execution_timeout_s)
    details = {
        "workerId": facts.worker_id,
        "attempt": facts.attempt,
        "startedAt": started_at,
        "timeoutAt": timeout_at,
        "progress": facts.progress,
        "progressMessage": facts.progress_message,
        "workerLastSeen": worker and worker.last_seen,
    }
    said = f"{facts.worker_id} runs it for {_span(_seconds(started_at, facts.now))}"
    if facts.progress is not None:
        said += f", at {facts.progress:g} %{f' ({facts.progress_message})' if facts.progress_message else ''}"
    late = timeout_at <= facts.now
    end = (
        f"its time was over {_ago(timeout_at, facts.now)}" if late else f"its time is over {_in(facts.now, timeout_at)}"
    )
    yield Said("running", f"{said}; {end}", details)
    if facts.cancel_requested:
        yield Said("cancel_requested", "its cancel was asked for: the worker is told with its next heartbeat", {})
    if worker is None:
        yield Said("worker_never_heard", f"no orchestrator has heard of {facts.worker_id} yet", {})
    elif worker.state in ("UNRESPONSIVE", "STOPPED"):
        message = (
            f"its worker is {worker.state}, last heard {_ago(worker.last_seen, facts.now)}: the attempt is made anew"
        )
        yield Said("worker_lost", message, {"state": worker.state, "lastSeen": worker.last_seen})


def _failed(facts: Facts) -> Said:
    code = "expired" if facts.error_type == "NotStarted" else facts.status.value
    tried = f" after {facts.failures} failed attempts" if facts.failures > 1 else ""
    why = f": {facts.error_message}" if facts.error_message else ""
    details = _end(facts) | {"fingerprint": facts.fingerprint}
    return Said(code, f"it ended as {facts.status}{tried}{why}", details)


def _cancelled(facts: Facts) -> Said:
    details = _end(facts)
    if facts.cancel_requested:
        last = f"; its last attempt: {facts.error_message}" if facts.error_message else ""
        return Said("cancelled", f"it was cancelled by a client{last}", details)
    code = "cancelled"
    if facts.error_type == "ParentFailed":
        code, details = "parent_failed", details | {"parents": _parents(facts.parents)}
    elif facts.error_type == "BatchStopped":
        code, details = "batch_stopped", details | {"batchId": facts.batch_id}
    return Said(code, f"it was cancelled: {facts.error_message or 'its worker said so'}", details)


def _end(facts: Facts) -> dict[str, Any]:
    return {
        "finishedAt": facts.finished_at,
        "attempt": facts.attempt,
        "failures": facts.failures,
        "losses": facts.losses,
        "error": _error(facts),
    }


def _error(facts: Facts) -> dict[str, Any]:
    return {"type": facts.error_type, "message": facts.error_message}


def _parents(parents: Sequence[ParentNow]) -> list[dict[str, Any]]:
    return [{"jobId": parent.id, "status": parent.status} for parent in parents]


def _count(count: int) -> str:
    return f"at least {count}" if count >= COUNTED else str(count)


def _seconds(start: datetime, end: datetime) -> float:
    return round(max((end - start).total_seconds(), 0.0), 1)


def _in(now: datetime, then: datetime) -> str:
    return f"in {_span(_seconds(now, then))}"


def _ago(then: datetime, now: datetime) -> str:
    return f"{_span(_seconds(then, now))} ago"


def _span(seconds: float) -> str:
    for least, unit_s, unit in UNITS:
        if seconds >= least:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:g} s"
