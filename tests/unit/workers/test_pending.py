"""Reports that wait say what those said whose place they take."""

from typing import Any

import orjson
import pytest

from distriqueue.core.job import new_job_id
from workers.runtime.pending import OVERHEAD_BYTES, Kind, Pending, PendingReports
from workers.runtime.recent import AttemptKey


def a_line(n: int) -> dict[str, Any]:
    return {"n": n, "at": "2026-01-01T00:00:00Z", "level": "info", "message": f"line {n}"}


def a_report(
    key: AttemptKey, kind: Kind = Kind.PROGRESS, *lines: int, checkpoint: int | None = None, **body: Any
) -> Pending:
    report = Pending(key, kind, dict(body))
    report.say([a_line(n) for n in lines], None if checkpoint is None else b"%d" % checkpoint)
    return report


def sent(pending: PendingReports) -> dict[str, Any]:
    """Send what is ready, one report, have it answered, and return it."""
    (report,) = pending.take(most=10, most_bytes=1_000_000)
    said: dict[str, Any] = orjson.loads(orjson.dumps(report.body))
    pending.answered(report)
    if "logs" in said:
        said["logs"] = [line["n"] for line in said["logs"]]
    return said


@pytest.fixture
def key() -> AttemptKey:
    return new_job_id(), 1


def test_a_newer_progress_says_all_that_was_not_sent(key: AttemptKey) -> None:
    pending = PendingReports()
    pending.add(a_report(key, Kind.PROGRESS, 1, 2, checkpoint=1, progress=5.0, progressMessage="five"))
    pending.add(a_report(key, Kind.PROGRESS, 3))
    pending.add(a_report(key, Kind.PROGRESS, 4, checkpoint=2))
    assert sent(pending) == {"logs": [1, 2, 3, 4], "checkpoint": 2, "progress": 5.0, "progressMessage": "five"}
    assert (len(pending), pending.size_bytes) == (0, 0)


def test_an_end_takes_over_lines_and_checkpoint_and_no_progress(key: AttemptKey) -> None:
    pending = PendingReports()
    pending.add(a_report(key, Kind.PROGRESS, 1, checkpoint=1, progress=5.0))
    pending.add(a_report(key, Kind.END, 2, status="failed"))
    assert sent(pending) == {"status": "failed", "logs": [1, 2], "checkpoint": 1}
    assert pending.size_bytes == 0


def test_what_is_behind_one_that_failed_to_go_says_it_instead(key: AttemptKey) -> None:
    pending = PendingReports()
    pending.add(a_report(key, Kind.PROGRESS, 1, checkpoint=1))
    out = pending.take(most=10, most_bytes=1_000_000)
    pending.add(a_report(key, Kind.PROGRESS, 2, progress=1.0))
    pending.add(a_report(key, Kind.PROGRESS, 3))
    pending.put_back(out)
    assert sent(pending) == {"logs": [1, 2, 3], "checkpoint": 1, "progress": 1.0}
    assert (len(pending), pending.size_bytes) == (0, 0)


def test_what_is_behind_one_that_was_answered_says_nothing_again(key: AttemptKey) -> None:
    pending = PendingReports()
    pending.add(a_report(key, Kind.PROGRESS, 1, checkpoint=1))
    (out,) = pending.take(most=10, most_bytes=1_000_000)
    pending.add(a_report(key, Kind.END, 2, status="failed"))
    pending.answered(out)
    assert sent(pending) == {"status": "failed", "logs": [2]}
    assert pending.size_bytes == 0


def test_a_checkpoint_that_waits_long_is_weighed_once(key: AttemptKey) -> None:
    pending = PendingReports()
    for _ in range(100):
        pending.add(a_report(key, checkpoint=10**50))
        pending.add(a_report(key, progress=1.0))
    assert pending.size_bytes < 2 * OVERHEAD_BYTES
