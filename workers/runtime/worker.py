"""One worker: its parts tied together, its life from the first heartbeat to the last."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from distriqueue import __version__
from distriqueue.core.job import JobId, Priority
from distriqueue.core.messages import Heartbeat, HeartbeatAnswer
from distriqueue.core.ports import Broker
from distriqueue.telemetry import get_logger
from distriqueue.telemetry.tracing import Tracing
from workers.handlers.registry import Registry
from workers.metrics import Metrics
from workers.runtime.executor import Executor
from workers.runtime.heartbeat import EVERY_S, HeartbeatThread
from workers.runtime.intake import Intake
from workers.runtime.lanes import LaneChoice
from workers.runtime.memory import Memory
from workers.runtime.pipeline import deepest
from workers.runtime.reports import Gateway, Outbox

log = get_logger("worker")

FIRST_BEAT_S: Final = 2.0
STOP_S: Final = 2.0
"""For handlers to stop after the drain time, a little over their grace."""
FLUSH_S: Final = 4.0
"""The least time for the last reports, when the drain time is used up."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is told."""

    worker_id: str
    """The effective id: unique per process start."""
    capacity: int
    lanes: Sequence[Priority]
    strict: bool
    drain_s: float
    orchestrators: Sequence[str]
    api_key: SecretStr | None = None
    """For the heartbeats; the gateway has its own."""


class Worker:
    """Runs jobs until told to stop."""

    def __init__(
        self,
        config: WorkerConfig,
        registry: Registry,
        broker: Broker,
        gateway: Gateway,
        *,
        on_stuck: Callable[[], None],
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._metrics = metrics
        self._tracing = tracing
        self._on_stuck = on_stuck
        """Called at the very end when handlers still go on: a task that ignores its cancel would keep the loop up."""
        self._config = config
        self._registry = registry
        self._broker = broker
        self._gateway = gateway
        self._stopping = False
        self._memory = Memory()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set or an orchestrator wants us drained, then drain."""
        config = self._config
        tracing = self._tracing
        outbox = Outbox(self._gateway, config.worker_id, tracing=tracing)
        async with asyncio.TaskGroup() as group:
            metrics = self._metrics
            executor = Executor(
                self._registry,
                outbox,
                group=group,
                capacity=config.capacity,
                on_ended=None if metrics is None else metrics.ended,
                tracing=tracing,
            )
            if metrics is not None:
                metrics.watch(slots=config.capacity, busy=lambda: executor.used, unsent=lambda: len(outbox))
            consumer = await self._broker.consume(
                config.lanes,
                prefetch=config.capacity + deepest(config.capacity),
                consumer_id=config.worker_id,
            )
            choice = LaneChoice(config.lanes, strict=config.strict)
            intake = Intake(consumer, choice, outbox, executor, capacity=config.capacity, tracing=tracing)
            heart = HeartbeatThread(
                config.orchestrators,
                lambda: self._heartbeat(intake),
                lambda answer: self._obey(answer, executor, intake, stop),
                every_s=EVERY_S,
                api_key=config.api_key,
            )
            try:
                await heart.start(FIRST_BEAT_S)
                loops = [group.create_task(loop) for loop in (outbox.run(), intake.run_acks(), intake.run())]
                log.info(
                    "worker_started",
                    worker_id=config.worker_id,
                    capacity=config.capacity,
                    lanes=list(choice.lanes),
                    types=self._registry.types,
                )
                await stop.wait()
                await self._drain(intake, executor, outbox)
                for loop in loops:
                    loop.cancel()
            finally:
                await heart.close()
            log.info("worker_stopped", worker_id=config.worker_id, handlers_stuck=executor.abandoned)
            if executor.abandoned:
                self._on_stuck()

    async def _drain(self, intake: Intake, executor: Executor, outbox: Outbox) -> None:
        """Take no more, let run what runs, give back the rest, deliver every report."""
        self._stopping = True
        deadline = time.monotonic() + self._config.drain_s
        log.info("worker_drains", running=executor.used, reports=len(outbox), drain_s=self._config.drain_s)
        await intake.drain()
        await intake.settled(self._config.drain_s)
        await executor.idle(deadline - time.monotonic())
        intake.leave()
        executor.release_all()
        await executor.idle(STOP_S)
        if not await outbox.flush(max(deadline - time.monotonic(), FLUSH_S)):
            log.error("reports_lost", reports=len(outbox))
        await intake.close()
        await executor.close()

    def _heartbeat(self, intake: Intake) -> Heartbeat:
        return Heartbeat(
            worker_id=self._config.worker_id,
            capacity=self._config.capacity,
            current_load=intake.load,
            types=self._registry.types[:1000],
            version=__version__,
            memory_bytes=self._memory.resident(),
            stopping=self._stopping,
        )

    def _obey(self, answer: HeartbeatAnswer, executor: Executor, intake: Intake, stop: asyncio.Event) -> None:
        for job_id in answer.cancel:
            executor.cancel(JobId(job_id))
        intake.paused = frozenset(answer.paused)
        if answer.drain and not stop.is_set():
            log.info("drain_requested")
            stop.set()
