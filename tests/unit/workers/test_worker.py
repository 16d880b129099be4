"""A whole worker on a broker in memory, with gateway and orchestrator as real servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch
from tests.unit.workers.fakes import (
    FakeBroker,
    FakeConsumer,
    FakeGateway,
    FakeOrchestrator,
    dispatch_of,
    refused_url,
    served,
    until,
)
from tests.unit.workers.samples import Gates, registry_with
from workers.runtime import intake, worker
from workers.runtime.gateway import Gateways
from workers.runtime.worker import Worker, WorkerConfig


class Lab:
    """A worker and its world."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.broker = FakeBroker()
        self.gateway = FakeGateway()
        self.orchestrator = FakeOrchestrator()
        self.stop = asyncio.Event()
        self.stuck = False

    @property
    def consumer(self) -> FakeConsumer:
        """The worker's subscription."""
        return self.broker.consumers[0]

    async def publish(self, *dispatches: Dispatch) -> None:
        """Send these."""
        await self.broker.publish(dispatches)

    def note_stuck(self) -> None:
        """The real one would end the process here."""
        self.stuck = True
        self.gates.go.set()

    async def end(self) -> None:
        """Stop the worker and wait until it has ended."""
        self.stop.set()
        await self.ended.wait()

    @contextlib.asynccontextmanager
    async def working(self, **changes: Any) -> AsyncIterator["Lab"]:
        """Run the worker."""
        self.ended = asyncio.Event()
        settings: dict[str, Any] = {
            "worker_id": "w.1",
            "capacity": 2,
            "lanes": list(Priority),
            "strict": False,
            "drain_s": 5.0,
        } | changes
        async with served(self.gateway) as gateway_url, served(self.orchestrator) as orchestrator_url:
            settings.setdefault("orchestrators", [orchestrator_url])
            config = WorkerConfig(**settings)
            async with Gateways([gateway_url]) as gateways, asyncio.TaskGroup() as group:
                a_worker = Worker(config, registry_with(self.gates), self.broker, gateways, on_stuck=self.note_stuck)
                group.create_task(self._run(a_worker))
                try:
                    yield self
                finally:
                    self.stop.set()
                    self.gates.go.set()
                    self.gates.thread_go.set()

    async def _run(self, a_worker: Worker) -> None:
        await a_worker.run(self.stop)
        self.ended.set()


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A world without a worker yet, with a fast pulse."""
    monkeypatch.setattr(worker, "EVERY_S", 0.1)
    return Lab()


async def test_jobs_are_claimed_run_reported_and_acked_once(lab: Lab) -> None:
    dispatches = [dispatch_of("amount", {"amount": n}, lane=list(Priority)[n % 4]) for n in range(80)]
    async with lab.working():
        await lab.publish(*dispatches)
        for dispatch in dispatches:
            await lab.gateway.end_of(dispatch)
        await until(lambda: len(lab.broker.acked) == 80)
        await lab.end()
    assert all(lab.gateway.statuses(dispatch) == ["running", "completed"] for dispatch in dispatches)
    assert [lab.gateway.of(dispatch)[1]["result"] for dispatch in dispatches] == list(range(80))
    assert set(lab.broker.acked.values()) == {1}
    assert len(lab.gateway.requests) < 80
    assert lab.consumer.closed


async def test_the_first_beat_precedes_the_first_claim(lab: Lab) -> None:
    await lab.publish(dispatch_of())
    async with lab.working():
        await until(lambda: bool(lab.gateway.requests))
        assert lab.orchestrator.beats
        beat = lab.orchestrator.beats[0]
    assert (beat["workerId"], beat["capacity"], beat["currentLoad"]) == ("w.1", 2, 0)
    assert "amount" in beat["types"]
    assert beat["memoryBytes"] > 10_000_000


async def test_no_orchestrator_stops_no_work(lab: Lab) -> None:
    dispatch = dispatch_of()
    await lab.publish(dispatch)
    async with lab.working(orchestrators=[refused_url()]):
        assert (await lab.gateway.end_of(dispatch))["status"] == "completed"


async def test_a_refused_claim_does_not_run_and_is_acked(lab: Lab) -> None:
    dispatch = dispatch_of()
    lab.gateway.refuse[str(dispatch.job_id)] = "cancelled"
    async with lab.working():
        await lab.publish(dispatch)
        await until(lambda: len(lab.broker.acked) == 1)
        # Resent with the same attempt later, it is asked for again: a refusal is not for ever.
        lab.gateway.refuse.clear()
        await lab.publish(dispatch)
        assert (await lab.gateway.end_of(dispatch))["status"] == "completed"
    assert lab.gates.runs == 1


async def test_the_message_is_acked_when_the_claim_is_decided_and_not_before(lab: Lab) -> None:
    lab.gateway.gate.clear()
    async with lab.working():
        await lab.publish(dispatch_of("wait"))
        await until(lambda: bool(lab.gateway.requests))
        assert not lab.broker.acked
        lab.gateway.gate.set()
        await lab.gates.started.wait()
        await until(lambda: len(lab.broker.acked) == 1)


@pytest.mark.parametrize("moment", ["claiming", "running", "done"])
async def test_a_redelivered_dispatch_is_dropped(lab: Lab, moment: str) -> None:
    dispatch = dispatch_of("wait")
    if moment == "claiming":
        lab.gateway.gate.clear()
    async with lab.working():
        await lab.publish(dispatch)
        await until(lambda: bool(lab.gateway.requests))
        if moment != "claiming":
            await lab.gates.started.wait()
        if moment == "done":
            lab.gates.go.set()
            await lab.gateway.end_of(dispatch)
        lab.consumer.redeliver(dispatch)
        lab.gateway.gate.set()
        await until(lambda: sum(lab.broker.acked.values()) == 2)
        lab.gates.go.set()
        await lab.gateway.end_of(dispatch)
        await lab.end()
    assert lab.gates.runs == 1
    assert lab.gateway.statuses(dispatch) == ["running", "completed"]
    assert lab.gateway.repeated == 0


async def test_another_attempt_of_the_same_job_runs(lab: Lab) -> None:
    first = dispatch_of()
    second = dispatch_of(job_id=first.job_id, attempt=2)
    async with lab.working():
        await lab.publish(first)
        await lab.gateway.end_of(first)
        await lab.publish(second)
        await lab.gateway.end_of(second)
    assert lab.gates.runs == 2


async def test_no_more_run_at_once_than_there_are_slots(lab: Lab) -> None:
    async with lab.working():
        await lab.publish(*(dispatch_of("wait") for _ in range(10)))
        await until(lambda: lab.gates.runs == 2)
        await until(lambda: lab.consumer.pauses == 1)
        assert lab.gates.runs == 2
        assert sum(len(waiting) for waiting in lab.broker.lanes.values()) == 8, "given back for others"
        lab.gates.go.set()
        await until(lambda: lab.gates.runs == 10)
    assert sum(lab.broker.acked.values()) == 10


async def test_what_is_at_hand_for_long_is_given_back_although_slots_free(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker ends a job every 20 ms, and has jobs for most of a second at hand; another has nothing to do."""
    monkeypatch.setattr(intake, "HELD_S", 0.1)
    jobs = [dispatch_of("sleep", {"s": 0.2}) for _ in range(50)]
    async with lab.working(capacity=10):
        for job in jobs[:10]:
            await lab.publish(job)
            await asyncio.sleep(0.02)
        await lab.publish(*jobs[10:])
        idle = await lab.broker.consume(list(Priority), prefetch=15, consumer_id="idle")
        assert await idle.wait(0.5)
        got = [delivery.dispatch for _ in range(15) if (delivery := idle.take(Priority.MEDIUM))]
        assert len(got) == 15
        for job in jobs:
            if job not in got:
                assert (await lab.gateway.end_of(job))["status"] == "completed"


async def test_what_is_at_hand_of_a_paused_lane_is_not_given_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "HELD_S", 0.05)
    lab.orchestrator.answer["paused"] = ["HIGH"]
    held = dispatch_of(lane=Priority.HIGH)
    async with lab.working():
        await lab.publish(held)
        await asyncio.sleep(0.3)
        assert (lab.consumer.pauses, lab.consumer.waiting(Priority.HIGH)) == (0, 1)


async def test_a_dispatch_that_came_twice_is_refused_without_ado(lab: Lab) -> None:
    twice, cancelled = dispatch_of(), dispatch_of()
    lab.gateway.refuse |= {str(twice.job_id): "running_elsewhere", str(cancelled.job_id): "cancelled"}
    with capture_logs() as logs:
        async with lab.working():
            await lab.publish(twice, cancelled)
            await until(lambda: sum(lab.broker.acked.values()) == 2)
    refused = {log["job_id"]: log["log_level"] for log in logs if log["event"] == "claim_refused"}
    assert refused == {str(twice.job_id): "debug", str(cancelled.job_id): "info"}


async def test_urgent_work_overtakes_a_flood(lab: Lab) -> None:
    flood = [dispatch_of("amount", {"amount": 0}, lane=Priority.LOW) for _ in range(200)]
    urgent = dispatch_of("amount", {"amount": 1}, lane=Priority.CRITICAL)
    async with lab.working():
        await lab.publish(*flood)
        await until(lambda: sum(1 for _ in lab.gateway.ends()) > 20)
        before = sum(1 for _ in lab.gateway.ends())
        await lab.publish(urgent)
        await lab.gateway.end_of(urgent)
        overtaken = sum(1 for _ in lab.gateway.ends()) - before
        assert overtaken < 60
        for dispatch in flood:
            await lab.gateway.end_of(dispatch)


async def test_a_paused_lane_is_left_alone_while_others_flow(lab: Lab) -> None:
    lab.orchestrator.answer["paused"] = ["HIGH"]
    held, free = dispatch_of(lane=Priority.HIGH), dispatch_of(lane=Priority.LOW)
    async with lab.working():
        await lab.publish(held)
        await lab.publish(free)
        await lab.gateway.end_of(free)
        assert lab.gateway.statuses(held) == []
        lab.orchestrator.answer["paused"] = []
        await lab.gateway.end_of(held)


async def test_a_cancel_by_heartbeat_stops_the_job(lab: Lab) -> None:
    dispatch = dispatch_of("wait")
    async with lab.working():
        await lab.publish(dispatch)
        await lab.gates.started.wait()
        lab.orchestrator.answer["cancel"] = [str(dispatch.job_id)]
        assert (await lab.gateway.end_of(dispatch))["status"] == "cancelled"
    assert lab.gates.cleaned_up


async def test_work_goes_on_after_an_outage_of_the_gateway(lab: Lab) -> None:
    dispatches = [dispatch_of("amount", {"amount": n}) for n in range(50)]
    async with lab.working():
        running = dispatch_of("wait")
        await lab.publish(running)
        await lab.gates.started.wait()
        lab.gateway.always = 503
        lab.gates.go.set()
        await lab.publish(*dispatches)
        await until(lambda: lab.consumer.pauses >= 1)
        lab.gateway.always = None
        for dispatch in (running, *dispatches):
            assert (await lab.gateway.end_of(dispatch))["status"] == "completed"
    assert lab.gates.runs == 1


async def test_drain_lets_run_gives_back_and_says_goodbye(lab: Lab) -> None:
    running, waiting = dispatch_of("wait"), [dispatch_of("wait") for _ in range(6)]
    async with lab.working(capacity=1):
        await lab.publish(running)
        await lab.gates.started.wait()
        await lab.publish(*waiting)
        lab.stop.set()
        await until(lambda: lab.consumer.paused)
        await until(lambda: any(beat["stopping"] for beat in lab.orchestrator.beats))
        assert not lab.ended.is_set()
        lab.gates.go.set()
        await lab.ended.wait()
    assert lab.gateway.statuses(running) == ["running", "completed"]
    assert all(lab.gateway.statuses(dispatch) == [] for dispatch in waiting)
    assert sum(len(lane) for lane in lab.broker.lanes.values()) == 6
    assert [beat["stopped"] for beat in lab.orchestrator.beats].count(True) == 1
    assert lab.orchestrator.beats[-1]["stopped"]
    assert not lab.stuck


async def test_what_does_not_end_within_the_drain_time_is_released(lab: Lab) -> None:
    dispatches = [dispatch_of("wait"), dispatch_of("thread_wait")]
    async with lab.working(drain_s=0.05):
        await lab.publish(*dispatches)
        await until(lambda: len(lab.broker.acked) == 2)
        await lab.gates.started.wait()
        await lab.end()
    assert [lab.gateway.statuses(dispatch) for dispatch in dispatches] == [["running", "released"]] * 2


async def test_a_claim_in_flight_while_draining_is_run_or_released(lab: Lab) -> None:
    dispatch = dispatch_of("wait")
    lab.gateway.gate.clear()
    async with lab.working(drain_s=0.05):
        await lab.publish(dispatch)
        await until(lambda: bool(lab.gateway.requests))
        lab.stop.set()
        await until(lambda: lab.consumer.paused)
        await asyncio.sleep(0.1)
        lab.gateway.gate.set()
        await lab.ended.wait()
    assert lab.gateway.statuses(dispatch) == ["running", "released"]
    assert lab.gates.runs == 0


async def test_a_claim_that_nobody_answers_goes_back_to_the_broker(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "FLUSH_S", 0.1)
    dispatch = dispatch_of("wait")
    lab.gateway.always = 503
    async with lab.working(drain_s=0.0):
        await lab.publish(dispatch)
        await until(lambda: bool(lab.gateway.requests))
        await lab.end()
    assert list(lab.broker.lanes[dispatch.priority]) == [dispatch]
    assert not lab.broker.acked


async def test_a_handler_that_ignores_everything_does_not_hold_up_the_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.runtime.runner.STOP_GRACE_S", 0.05)
    dispatch = dispatch_of("stubborn")
    async with lab.working(drain_s=0.0):
        await lab.publish(dispatch)
        await lab.gates.started.wait()
        await lab.end()
    assert lab.stuck
    assert lab.gateway.statuses(dispatch) == ["running", "released"]


async def test_an_orchestrator_can_drain_the_worker(lab: Lab) -> None:
    async with lab.working():
        await until(lambda: bool(lab.orchestrator.beats))
        lab.orchestrator.answer["drain"] = True
        await asyncio.wait_for(lab.ended.wait(), 5)
    assert lab.stop.is_set()


async def test_accepted_jobs_that_find_no_slot_are_released(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short jobs are claimed ahead; when a long one takes the only slot, what was claimed goes elsewhere."""
    monkeypatch.setattr(intake, "STALLED_S", 0.1)
    async with lab.working(capacity=1):
        short = [dispatch_of() for _ in range(20)]
        await lab.publish(*short)
        for dispatch in short:
            await lab.gateway.end_of(dispatch)
        long, next_ = dispatch_of("wait"), dispatch_of("wait")
        lab.gateway.delay_s = 0.02
        await lab.publish(long, next_)
        await lab.gates.started.wait()
        await until(lambda: lab.consumer.pauses >= 1 and lab.gates.runs == 21)
        # Either it was claimed ahead and released, or it was never taken: in no case does it wait here.
        await until(
            lambda: (
                lab.gateway.statuses(next_) in ([], ["running", "released"])
                and (not lab.gateway.statuses(next_) or lab.broker.acked[next_.job_id, 1] == 1)
            )
        )


async def test_what_a_claim_says_of_parents_reaches_the_handler(lab: Lab) -> None:
    async with lab.working(capacity=1):
        first, second = dispatch_of("thread_parents"), dispatch_of("parents")
        for n, dispatch in enumerate((first, second)):
            lab.gateway.parents[str(dispatch.job_id)] = [
                {"jobId": str(new_job_id()), "type": "a", "status": "completed", "result": n}
            ]
        await lab.publish(first, second)
        for n, dispatch in enumerate((first, second)):
            (parent,) = (await lab.gateway.end_of(dispatch))["result"]
            assert parent == [parent[0], parent[0], "a", "completed", n, None, False]


async def test_parents_wait_with_a_job_that_waits_for_its_slot(lab: Lab) -> None:
    async with lab.working(capacity=1):
        for _ in range(30):
            await lab.publish(dispatch_of())
        waiting = [dispatch_of("parents") for _ in range(30)]
        for n, dispatch in enumerate(waiting):
            lab.gateway.parents[str(dispatch.job_id)] = [
                {"jobId": str(new_job_id()), "type": "a", "status": "completed", "result": n}
            ]
        await lab.publish(*waiting)
        for n, dispatch in enumerate(waiting):
            assert (await lab.gateway.end_of(dispatch))["result"][0][4] == n
