"""What services count, and what is shown before anything has happened."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from distriqueue.core.job import JobId, Priority, new_job_id
from distriqueue.core.messages import Answer, Report, ReportAnswer, ReportStatus
from distriqueue.core.states import Status
from distriqueue.store.duties import Ended, Reaped
from distriqueue.store.statistics import Steps
from gateway.metrics import Metrics as GatewayMetrics
from orchestrator.metrics import Metrics as OrchestratorMetrics
from tests.unit.orchestrator.fakes import FakeLeadership
from workers.metrics import Metrics as WorkerMetrics


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """By name and the labels' values, in the order of their names."""
    return {
        (sample.name.removeprefix("distriqueue_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def report(status: ReportStatus, **fields: Any) -> Report:
    return Report(job_id=new_job_id(), attempt=1, status=status, worker_id="w1", **fields)


def test_reports_are_counted_by_what_was_answered() -> None:
    metrics = GatewayMetrics()
    said = [
        (report(ReportStatus.RUNNING), Answer.ACCEPTED),
        (report(ReportStatus.RUNNING), Answer.ACCEPTED),
        (report(ReportStatus.RUNNING), Answer.REFUSED),
        (report(ReportStatus.RUNNING, progress=50), Answer.ACCEPTED),
        (report(ReportStatus.COMPLETED), Answer.ACCEPTED),
        (report(ReportStatus.FAILED), Answer.STALE),
        (report(ReportStatus.RELEASED), Answer.ACCEPTED),
    ]
    metrics.answered(
        [each for each, _ in said],
        [ReportAnswer(job_id=each.job_id, attempt=1, answer=answer) for each, answer in said],
    )
    shown = samples(metrics.expose())
    assert [shown["claims_total", answer] for answer in ("accepted", "refused")] == [2, 1]
    assert [shown["reports_total", answer] for answer in ("accepted", "stale")] == [3, 1]
    outcomes = ("completed", "failed", "released", "cancelled")
    assert [shown["attempts_total", outcome] for outcome in outcomes] == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (202, "accepted"),
        (200, "accepted"),
        (422, "refused"),
        (413, "refused"),
        (429, "overloaded"),
        (503, "unavailable"),
    ],
)
def test_requests_are_counted_by_outcome(status: int, outcome: str) -> None:
    metrics = GatewayMetrics()
    metrics.timed["POST", "/api/jobs"](status, 0.02)
    shown = samples(metrics.expose())
    assert shown["request_seconds_count", outcome, "submit"] == 1
    assert sum(value for key, value in shown.items() if key[0] == "request_seconds_count") == 1


def test_commits_show_their_sizes_and_times() -> None:
    metrics = GatewayMetrics()
    metrics.intake_committed(40, 0.003)
    shown = samples(metrics.expose())
    assert shown["commit_batch_size_sum", "intake"] == 40
    assert shown["commit_seconds_bucket", "intake", "0.005"] == 1
    assert shown["commit_seconds_count", "reports"] == 0


def step(status: Status, was: Status | None, **more: Any) -> Steps:
    fields: dict[str, Any] = {"took_bucket": None, "total_bucket": None, "took_s": 0.0, "total_s": 0.0, "jobs": 1}
    fields |= {"is_webhook": False, "priority": "HIGH"} | more
    return Steps(status=status.value, was=was and was.value, **fields)


def test_jobs_are_counted_by_the_steps_they_took() -> None:
    metrics = OrchestratorMetrics()
    metrics.lifetimes.told(
        [
            step(Status.PENDING, None, jobs=4),
            step(Status.RUNNING, Status.QUEUED, jobs=3, took_bucket=1, took_s=0.024),
            step(Status.COMPLETED, Status.RUNNING, jobs=2, took_bucket=7, took_s=1.2, total_bucket=7, total_s=1.3),
            step(Status.RETRYING, Status.RUNNING, took_bucket=0, took_s=0.001, is_webhook=True),
            step(Status.CANCELLED, Status.PENDING, priority="LOW"),
        ]
    )
    shown = samples(metrics.expose())
    assert shown["jobs_submitted_total", "HIGH"] == 4
    assert [shown["jobs_finished_total", *of] for of in (("HIGH", "completed"), ("LOW", "cancelled"))] == [2, 1]
    assert shown["retries_total", "HIGH"] == 1
    assert (shown["webhook_deliveries_total", "retried"], shown["webhook_deliveries_total", "delivered"]) == (1, 0)
    assert (shown["job_wait_seconds_count", "HIGH"], shown["job_wait_seconds_bucket", "HIGH", "0.01"]) == (3, 3)
    assert shown["job_wait_seconds_bucket", "HIGH", "0.005"] == 0
    assert shown["job_run_seconds_count", "HIGH"] == 3
    assert shown["job_total_seconds_sum", "HIGH"] == pytest.approx(1.3)


def test_attempts_that_the_leader_ends_are_counted_too() -> None:
    metrics = OrchestratorMetrics()
    ended = Ended(JobId(new_job_id()), 1, "w1", Status.RETRYING)
    metrics.reaped(Reaped(["w1"], [ended, ended], [ended]))
    shown = samples(metrics.expose())
    assert (shown["attempts_total", "lost"], shown["attempts_total", "timeout"]) == (2, 1)


def test_the_election_is_shown_as_it_is_when_asked() -> None:
    metrics, leadership = OrchestratorMetrics(), FakeLeadership(held=7)
    metrics.watch(leadership)
    assert (samples(metrics.expose())["is_leader",], samples(metrics.expose())["epoch",]) == (1, 7)
    leadership.become(None)
    shown = samples(metrics.expose())
    assert (shown["is_leader",], shown["epoch",]) == (0, 0)
    assert shown["raft_requests_refused_total", "secret"] == 0


def test_what_has_not_happened_yet_is_zero_and_not_missing() -> None:
    orchestrator = OrchestratorMetrics()
    orchestrator.expect(["reaper"])
    shown = samples(GatewayMetrics().expose()) | samples(orchestrator.expose())
    for name in (
        ("publishes_total", "left"),
        ("duty_failures_total", "reaper"),
        ("jobs_submitted_total", Priority.LOW.value),
        ("jobs_finished_total", "LOW", "failed"),
        ("request_seconds_count", "unavailable", "report"),
    ):
        assert shown[name] == 0


def test_a_worker_counts_by_type() -> None:
    metrics = WorkerMetrics(["calculate"])
    metrics.watch(slots=4, busy=lambda: 3, unsent=lambda: 2)
    metrics.ended("calculate", ReportStatus.FAILED, 0.7)
    shown = samples(metrics.expose())
    assert (shown["handler_slots",], shown["handler_slots_busy",], shown["outbox_reports",]) == (4, 3, 2)
    assert shown["handler_attempts_total", "failed"] == 1
    assert shown["handler_seconds_bucket", "1.0", "calculate"] == 1
