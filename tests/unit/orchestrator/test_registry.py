"""What the registry answers, keeps and refuses; and when a recording has a gap."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from distriqueue.core.errors import StoreUnavailable, Unavailable
from distriqueue.core.job import new_job_id
from distriqueue.core.messages import Heartbeat
from orchestrator import registry as module
from orchestrator.recording import MAX_GAP_S, Recording
from orchestrator.registry import Registry
from tests.unit.orchestrator.fakes import FakeWorkers, Noted

START = datetime(2026, 1, 1, tzinfo=UTC)


class Node:
    """A registry with its surroundings."""

    def __init__(self) -> None:
        self.workers, self.noted, self.time = FakeWorkers(), Noted(), 100.0
        workers: Any = self.workers
        self.registry = Registry(workers, observer=self.noted, clock=lambda: self.time)


@pytest.fixture
def node() -> Node:
    return Node()


async def test_refuses_until_the_first_flush(node: Node) -> None:
    with pytest.raises(Unavailable):
        node.registry.hear(Heartbeat(worker_id="w1"))
    await node.registry.flush()
    assert node.registry.hear(Heartbeat(worker_id="w1")) is None


async def test_answers_with_what_the_last_flush_learned(node: Node) -> None:
    job_id = new_job_id()
    node.workers.cancel, node.workers.drain = {"w1": [job_id]}, frozenset({"w2"})
    await node.registry.flush()
    first, second = (node.registry.hear(Heartbeat(worker_id=each)) for each in ("w1", "w2"))
    assert first is not None
    assert second is not None
    assert (first.cancel, first.drain, second.cancel, second.drain) == ([job_id], False, [], True)
    assert node.registry.hear(Heartbeat(worker_id="w3")) is None


async def test_one_row_per_worker_and_flush(node: Node) -> None:
    await node.registry.flush()
    for load in (0, 1, 2):
        node.registry.hear(Heartbeat(worker_id="w1", current_load=load))
    await node.registry.flush()
    await node.registry.flush()
    assert [[beat.current_load for beat in beats] for beats in node.workers.recorded] == [[], [2], []]
    assert node.noted.heard == [("flushed", 0), ("flushed", 1), ("flushed", 0)]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), TimeoutError()])
async def test_a_failed_flush_refuses_and_keeps_last_words_only(node: Node, error: Exception) -> None:
    await node.registry.flush()
    node.registry.hear(Heartbeat(worker_id="living"))
    node.registry.hear(Heartbeat(worker_id="ended", stopped=True))
    node.workers.error = error
    with pytest.raises(StoreUnavailable):
        await node.registry.flush()
    with pytest.raises(Unavailable) as refusal:
        node.registry.hear(Heartbeat(worker_id="living"))
    assert refusal.value.retry_after_s == 1
    node.workers.error = None
    await node.registry.flush()
    assert [beat.worker_id for beat in node.workers.recorded[-1]] == ["ended"]
    node.registry.hear(Heartbeat(worker_id="living"))


async def test_refuses_when_no_flush_came_back_for_long(node: Node) -> None:
    await node.registry.flush()
    node.time += module.STALE_S
    with pytest.raises(Unavailable):
        node.registry.hear(Heartbeat(worker_id="w1"))


async def test_workers_between_two_flushes_are_bounded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WORKERS", 2)
    await node.registry.flush()
    for worker_id in ("w1", "w2", "w1"):
        node.registry.hear(Heartbeat(worker_id=worker_id))
    with pytest.raises(Unavailable, match="2 workers"):
        node.registry.hear(Heartbeat(worker_id="w3"))


async def test_flushes_once_more_when_it_stops(node: Node) -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(node.registry.run(stop))
        await node.noted.told.wait()
        node.registry.hear(Heartbeat(worker_id="w1", stopped=True))
        stop.set()
    assert [beat.worker_id for beat in node.workers.recorded[-1]] == ["w1"]


async def test_a_gap_begins_the_recording_anew(node: Node) -> None:
    for pause_s in (0.0, 0.5, 0.5):
        node.workers.later(pause_s)
        await node.registry.flush()
    assert node.registry.recording is not None
    assert node.registry.recording.unbroken_s == 1
    node.workers.later(60)
    await node.registry.flush()
    assert node.registry.recording.unbroken_s == 0


@pytest.mark.parametrize(
    ("pause_s", "unbroken_s"), [(MAX_GAP_S, 10 + MAX_GAP_S), (MAX_GAP_S + 0.001, 0), (3600, 0), (-3600, 0)]
)
def test_what_a_gap_is(pause_s: float, unbroken_s: float) -> None:
    recording = Recording(START, START + timedelta(seconds=10))
    assert recording.extended(recording.at + timedelta(seconds=pause_s)).unbroken_s == pytest.approx(unbroken_s)
