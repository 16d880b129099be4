"""What a handler sees."""

import threading
import time

import pytest
import structlog
from pydantic import ValidationError

from distriqueue.core.job import new_job_id
from workers import JobCancelled
from workers.runtime.context import AttemptContext


def a_context() -> tuple[AttemptContext, list[tuple[float, str | None]]]:
    """Return a context and what its progress says."""
    said: list[tuple[float, str | None]] = []
    context = AttemptContext(
        new_job_id(), 2, "resize", deadline=time.monotonic() + 10, sink=lambda *what: said.append(what)
    )
    return context, said


def test_the_deadline_counts_down_to_zero() -> None:
    context, _ = a_context()
    assert 9 < context.remaining_s <= 10
    context.deadline = time.monotonic() - 1
    assert context.remaining_s == 0


@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
def test_progress_is_a_percentage(percent: float) -> None:
    context, said = a_context()
    with pytest.raises(ValueError, match="0 to 100"):
        context.progress(percent)
    context.progress(50, "half")
    assert said == [(50.0, "half")]


def test_cancelled_wakes_a_thread_that_waits_for_it() -> None:
    context, _ = a_context()
    woke: list[bool] = []
    thread = threading.Thread(target=lambda: woke.append(context.cancelled.wait(10)))
    context.raise_if_cancelled()
    assert not context.cancelled.wait(0)
    thread.start()
    context.cancelled.set()
    thread.join(5)
    assert woke == [True]
    assert context.cancelled
    assert context.cancelled.wait(0)
    with pytest.raises(JobCancelled):
        context.raise_if_cancelled()


def test_the_log_names_the_attempt() -> None:
    context, _ = a_context()
    with structlog.testing.capture_logs() as logs:
        context.log.info("resized", width=3)
    assert logs[0]["attempt"] == 2
    assert logs[0]["job_id"] == str(context.job_id)
    assert logs[0]["job_type"] == "resize"


def test_parents_are_read_once_and_cannot_be_changed() -> None:
    context, _ = a_context()
    assert context.parents == {}
    parent_id = new_job_id()
    raw = [{"jobId": str(parent_id), "type": "resize", "status": "completed", "result": 3}]
    context = AttemptContext(new_job_id(), 1, "sum", deadline=0.0, sink=lambda *_: None, parents=raw)
    assert context.parents[parent_id].result == 3
    assert context.parents is context.parents
    with pytest.raises(TypeError):
        context.parents[parent_id] = context.parents[parent_id]  # type: ignore[index]
    with pytest.raises(ValidationError, match="frozen"):
        context.parents[parent_id].result = 4  # type: ignore[misc]
