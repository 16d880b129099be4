"""Stand-ins for what a unit test has not: a store, a broker, a leadership, a clock."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from distriqueue.core.errors import DistriQueueError
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch, Heartbeat
from distriqueue.store.workers import Recorded
from orchestrator.cluster.leadership import Figures, LeadershipStatus
from orchestrator.duties.duty import Outcome


class Midpoint:
    """Randomness that always draws one half."""

    def random(self) -> float:
        return 0.5


@dataclass
class FakeBroker:
    """Confirms what it is told to; `gate`, when it has one, holds a publish back."""

    connected: bool = True
    refuse: set[UUID] = field(default_factory=set)
    gate: asyncio.Event | None = None
    published: list[Dispatch] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, dispatches: Sequence[Dispatch]) -> list[bool]:
        self.published += dispatches
        self.asked.set()
        if self.gate is not None:
            await asyncio.wait_for(self.gate.wait(), 5)
        return [each.job_id not in self.refuse for each in dispatches]


@dataclass
class FakeJobs:
    """Notes what is marked, or fails."""

    error: DistriQueueError | None = None
    marked: list[tuple[UUID, int]] = field(default_factory=list)
    epochs: list[int | None] = field(default_factory=list)

    async def mark_queued(self, dispatches: Sequence[Dispatch], *, epoch: int | None = None) -> int:
        self.epochs.append(epoch)
        if self.error is not None:
            raise self.error
        self.marked += [(each.job_id, each.attempt) for each in dispatches]
        return len(dispatches)


@dataclass
class FakeWorkers:
    """Records heartbeats by a clock of its own, or fails."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    error: Exception | None = None
    cancel: Mapping[str, Sequence[UUID]] = field(default_factory=dict)
    drain: frozenset[str] = frozenset()
    recorded: list[list[Heartbeat]] = field(default_factory=list)

    async def record(self, beats: Sequence[Heartbeat]) -> Recorded:
        if self.error is not None:
            raise self.error
        self.recorded.append(list(beats))
        return Recorded(self.at, self.cancel, self.drain)

    def later(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class FakeLeadership:
    """Leads as it is told."""

    held: int | None = 1
    refused: list[int] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def epoch(self) -> int | None:
        return self.held

    def fenced(self, epoch: int) -> None:
        self.refused.append(epoch)
        self.become(None)
        self.told.set()

    def become(self, epoch: int | None) -> None:
        self.held = epoch
        for changed in self.watchers:
            changed()

    def watch(self, changed: Callable[[], None]) -> None:
        self.watchers.append(changed)

    def status(self) -> LeadershipStatus:
        leads = self.held is not None
        return LeadershipStatus("node1", "leader" if leads else "follower", 1, self.held, None, established=leads)

    def figures(self) -> Figures:
        return Figures()

    async def step_down(self, to: str | None = None) -> str:
        self.become(None)
        return to or "node2"

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()


@dataclass
class FakeDuty:
    """Does what the script says, run by run, and then sets `over`."""

    script: list[Outcome | DistriQueueError]
    interval_s: float = 0.01
    name: str = "fake"
    epochs: list[int] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, epoch: int) -> Outcome:
        self.epochs.append(epoch)
        step = self.script.pop(0) if self.script else Outcome(0)
        if not self.script:
            self.over.set()
        if isinstance(step, DistriQueueError):
            raise step
        return step


@dataclass
class Noted:
    """An observer that keeps what it hears."""

    heard: list[tuple[object, ...]] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def duty_ran(self, duty: str, *, done: int, duration_s: float) -> None:
        assert duration_s >= 0
        self.heard.append(("ran", duty, done))

    def duty_failed(self, duty: str) -> None:
        self.heard.append(("failed", duty))

    def flushed(self, *, beats: int, duration_s: float) -> None:
        assert duration_s >= 0
        self.heard.append(("flushed", beats))
        self.told.set()

    def flush_failed(self) -> None:
        self.heard.append(("flush_failed",))


def dispatch(priority: Priority = Priority.MEDIUM, *, attempt: int = 1) -> Dispatch:
    """Return a dispatch of a new job."""
    return Dispatch(new_job_id(), attempt, "calculate", priority, {}, 300.0)
