"""What is said of each status, from facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.states import Status
from distriqueue.store.explain import COUNTED, Facts, Lane, OwnWorker, ParentNow, Slots, Takers
from gateway.api.explain import Said, explain

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FREE = Takers(workers=2, handling=2, capacity=8, load=1)


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def facts(status: Status, **known: Any) -> Facts:
    default = Facts(
        now=NOW,
        id=new_job_id(),
        type="calculate",
        status=status,
        attempt=1,
        failures=0,
        losses=0,
        max_retries=3,
        execution_timeout_s=300.0,
        cancel_requested=False,
        worker_id=None,
        progress=None,
        progress_message=None,
        ready_at=before(1),
        due_at=None,
        expires_at=None,
        queued_at=None,
        started_at=None,
        finished_at=None,
        batch_id=None,
        concurrency_key=None,
        concurrency_limit=None,
        rate_slot=None,
        waits_for=0,
        fingerprint=None,
        error_type=None,
        error_message=None,
        parents=(),
        slots=None,
        ahead=0,
        lane=Lane(Priority.MEDIUM),
        takers=FREE if status in (Status.PENDING, Status.QUEUED) else None,
        worker=None,
    )
    return replace(default, **known)


def said(known: Facts, *, broker_connected: bool = True) -> dict[str, Said]:
    """Return the reasons by their codes."""
    reasons = explain(known, broker_connected=broker_connected)
    assert all(reason.message for reason in reasons)
    return {reason.code: reason for reason in reasons}


@pytest.mark.parametrize("status", Status)
def test_there_is_something_to_say_of_every_status(status: Status) -> None:
    assert said(facts(status))


def test_scheduled_and_when_it_is_due() -> None:
    reasons = said(facts(Status.SCHEDULED, due_at=after(40)))
    assert reasons == {"not_due": Said("not_due", "it is due in 40 s", {"dueAt": after(40), "seconds": 40.0})}
    assert said(facts(Status.SCHEDULED, due_at=after(3 * 86_400)))["not_due"].message == "it is due in 3 days"


def test_scheduled_and_late_says_who_should_have_let_it_go() -> None:
    assert list(said(facts(Status.SCHEDULED, due_at=before(2)))) == ["not_due"]
    reasons = said(facts(Status.SCHEDULED, due_at=before(300)))
    assert reasons["waits_for_scheduler"].details == {"overdueSeconds": 300.0}
    assert "5 min ago" in reasons["waits_for_scheduler"].message


def test_retrying_says_which_retry_and_what_the_last_error_was() -> None:
    known = facts(Status.RETRYING, due_at=after(8), failures=2, error_type="ValueError", error_message="boom")
    backoff = said(known)["backoff"]
    assert backoff.message == "retry 2 of 3 (the last attempt: boom): it is tried again in 8 s"
    assert backoff.details["lastError"] == {"type": "ValueError", "message": "boom"}
    assert (backoff.details["failures"], backoff.details["maxRetries"], backoff.details["dueAt"]) == (2, 3, after(8))


def test_an_attempt_lost_with_its_worker_is_no_retry() -> None:
    known = facts(Status.RETRYING, due_at=NOW, failures=1, losses=1, attempt=2, error_type="WorkerLost")
    assert said(known)["backoff"].message.startswith("attempt 2 was lost with its worker")


def test_blocked_names_parents_and_counts_the_rest() -> None:
    parents = tuple(ParentNow(new_job_id(), Status.RUNNING) for _ in range(10))
    reasons = said(facts(Status.BLOCKED, waits_for=14, parents=parents, concurrency_key="k", concurrency_limit=1))
    assert list(reasons) == ["waits_for_parents"]
    waits = reasons["waits_for_parents"]
    assert waits.message.endswith(f"{parents[9].id} (running) and 4 more")
    assert waits.details["waitsFor"] == 14
    assert waits.details["parents"][0] == {"jobId": parents[0].id, "status": Status.RUNNING}


def test_blocked_by_ends_that_are_followed_up_goes_on_soon() -> None:
    known = facts(Status.BLOCKED, waits_for=1, parents=(ParentNow(new_job_id(), Status.COMPLETED),))
    assert list(said(known)) == ["about_to_go_on"]


def test_blocked_by_a_concurrency_key_says_who_holds_it_and_its_place_in_line() -> None:
    holders = (new_job_id(), new_job_id())
    known = facts(Status.BLOCKED, concurrency_key="k", concurrency_limit=2, slots=Slots(holders, 2, COUNTED))
    waits = said(known)["waits_for_slot"]
    assert waits.message == "the concurrency key 'k' lets 2 in and 2 are; at least 1000 stand in line before it"
    assert (waits.details["heldBy"], waits.details["ahead"]) == (holders, COUNTED)


@pytest.mark.parametrize(
    ("known", "connected", "code"),
    [
        ({}, True, "about_to_be_sent"),
        ({}, False, "broker_down"),
        ({"ready_at": before(60), "ahead": 7}, True, "waits_for_dispatcher"),
        ({"ready_at": after(5), "rate_slot": after(5)}, True, "rate_limited"),
        ({"ready_at": after(5)}, True, "spread"),
        ({"ready_at": after(5)}, False, "spread"),
        ({"lane": Lane(Priority.LOW, paused=True, reason="deploy")}, True, "queue_paused"),
    ],
)
def test_pending_waits_for_one_thing(known: dict[str, Any], connected: bool, code: str) -> None:
    assert list(said(facts(Status.PENDING, **known), broker_connected=connected)) == [code]


def test_pending_in_a_paused_queue_still_waits_for_its_rate_limit() -> None:
    known = facts(Status.PENDING, ready_at=after(5), rate_slot=after(5), lane=Lane(Priority.LOW, paused=True))
    assert list(said(known)) == ["queue_paused", "rate_limited"]


def test_queued_says_its_position() -> None:
    queue = said(facts(Status.QUEUED, queued_at=before(12), ahead=3))["in_queue"]
    assert queue.message == "it is in the queue job.medium for 12 s, 3 of its priority before it"
    assert queue.details == {"queue": "job.medium", "ahead": 3, "queuedSeconds": 12.0}


def test_a_paused_queue_is_said_with_its_reason() -> None:
    paused = said(facts(Status.QUEUED, lane=Lane(Priority.LOW, paused=True, reason="deploy")))["queue_paused"]
    assert paused.message == "the queue job.low is paused (deploy)"
    assert paused.details == {"queue": "job.low", "reason": "deploy"}


@pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED])
@pytest.mark.parametrize(
    ("takers", "code"),
    [
        (Takers(workers=0, handling=0, capacity=0, load=0), "no_worker"),
        (Takers(workers=3, handling=0, capacity=0, load=0), "no_worker_for_type"),
        (Takers(workers=3, handling=2, capacity=8, load=8), "workers_busy"),
    ],
)
def test_who_could_take_it_is_said_when_nobody_can(status: Status, takers: Takers, code: str) -> None:
    details = said(facts(status, takers=takers))[code].details
    assert details["workers"] == takers.workers
    assert (details["capacity"], details["load"]) == (takers.capacity, takers.load)


def test_running_says_where_how_far_and_until_when() -> None:
    known = facts(
        Status.RUNNING,
        worker_id="w1",
        started_at=before(100),
        progress=25.0,
        progress_message="half of half",
        worker=OwnWorker("ACTIVE", before(1)),
    )
    reasons = said(known)
    assert list(reasons) == ["running"]
    assert reasons["running"].message == "w1 runs it for 100 s, at 25 % (half of half); its time is over in 3 min"
    assert reasons["running"].details["timeoutAt"] == after(200)
    assert "its time was over 5 min ago" in said(replace(known, started_at=before(600)))["running"].message


def test_running_says_what_is_wrong_with_it() -> None:
    known = facts(Status.RUNNING, worker_id="w1", started_at=before(5), cancel_requested=True)
    assert list(said(known)) == ["running", "cancel_requested", "worker_never_heard"]
    lost = said(replace(known, worker=OwnWorker("UNRESPONSIVE", before(30))))["worker_lost"]
    assert lost.details == {"state": "UNRESPONSIVE", "lastSeen": before(30)}


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (Status.FAILED, "ValueError", "failed"),
        (Status.TIMEOUT, "ExecutionTimeout", "timeout"),
        (Status.TIMEOUT, "NotStarted", "expired"),
        (Status.CANCELLED, "ParentFailed", "parent_failed"),
        (Status.CANCELLED, "BatchStopped", "batch_stopped"),
        (Status.CANCELLED, "Cancelled", "cancelled"),
    ],
)
def test_a_bad_end_says_why(status: Status, error: str, code: str) -> None:
    known = facts(status, finished_at=NOW, error_type=error, error_message="because", fingerprint="0123456789abcdef")
    reasons = said(known)
    assert list(reasons) == [code]
    assert reasons[code].message.endswith(": because")
    assert reasons[code].details["error"] == {"type": error, "message": "because"}
    assert ("fingerprint" in reasons[code].details) == (status is not Status.CANCELLED)


def test_who_cancelled_it_is_said() -> None:
    parent, batch = ParentNow(new_job_id(), Status.FAILED), new_job_id()
    by_client = said(facts(Status.CANCELLED, finished_at=NOW, cancel_requested=True, error_message="boom"))["cancelled"]
    assert by_client.message == "it was cancelled by a client; its last attempt: boom"
    by_parent = said(facts(Status.CANCELLED, finished_at=NOW, error_type="ParentFailed", parents=(parent,)))
    assert by_parent["parent_failed"].details["parents"] == [{"jobId": parent.id, "status": Status.FAILED}]
    by_batch = said(facts(Status.CANCELLED, finished_at=NOW, error_type="BatchStopped", batch_id=batch))
    assert by_batch["batch_stopped"].details["batchId"] == batch


def test_an_expiry_is_said_while_it_has_not_ended() -> None:
    assert said(facts(Status.PENDING, expires_at=after(30)))["expires"].message == (
        "it ends as timeout unless it starts in 30 s"
    )
    assert "expires" not in said(facts(Status.TIMEOUT, expires_at=before(30), finished_at=NOW))
