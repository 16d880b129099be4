"""Composes one node by hand and runs it until it is told to stop."""

import asyncio
import contextlib
import secrets
import socket
from typing import Final

from distriqueue import broker, lifecycle
from distriqueue.settings import BrokerSettings, OrchestratorSettings, StoreSettings
from distriqueue.store.database import Database
from distriqueue.store.duties import DutyStore
from distriqueue.store.jobs import JobStore
from distriqueue.store.leadership import LeadershipStore, duty_connections
from distriqueue.store.workers import WorkerStore
from distriqueue.telemetry import get_logger
from orchestrator import api
from orchestrator.cluster.leadership import SoleLeadership
from orchestrator.duties.dispatcher import Dispatcher
from orchestrator.duties.pruner import Pruner
from orchestrator.duties.reaper import Reaper
from orchestrator.duties.scheduler import Scheduler
from orchestrator.duties.sender import Sender
from orchestrator.duties.supervisor import Supervisor
from orchestrator.heartbeats import HeartbeatsFirst
from orchestrator.metrics import Metrics
from orchestrator.parts import Parts
from orchestrator.registry import Registry

log = get_logger("orchestrator")

STOP_S: Final = 10.0
"""What a duty's last run and requests in flight get to end."""


async def run(settings: OrchestratorSettings, store: StoreSettings, broker_settings: BrokerSettings) -> None:
    """Serve, lead and do the duties until SIGTERM or SIGINT; BadSetting when it cannot start."""
    lifecycle.require_loopback(
        settings.orchestrator_host, insecure=settings.insecure, setting="DISTRIQUEUE_ORCHESTRATOR_HOST"
    )
    bound = lifecycle.listen(
        settings.orchestrator_host, settings.orchestrator_port, setting="DISTRIQUEUE_ORCHESTRATOR_PORT"
    )
    with contextlib.closing(bound):
        async with contextlib.AsyncExitStack() as stack:
            stop = await stack.enter_async_context(lifecycle.stop_signal())
            boot = secrets.token_hex(8)
            # The duties have connections of their own: the next leader ends these, and heartbeats never wait for one.
            serving = await stack.enter_async_context(Database.open(store, application="distriqueue-orchestrator"))
            duties = await stack.enter_async_context(Database.open(store, application=duty_connections(boot)))
            dispatch = await stack.enter_async_context(
                broker.connect(
                    broker_settings.broker_url.get_secret_value(), publish_timeout_s=broker_settings.publish_timeout
                )
            )
            metrics = Metrics()
            workers = WorkerStore(serving)
            registry = Registry(workers, observer=metrics)
            leadership = SoleLeadership(LeadershipStore(serving), node=settings.node_id, boot=boot)
            sender = Sender(dispatch, JobStore(duties))
            duty_store = DutyStore(duties)
            supervisor = Supervisor(
                [
                    Dispatcher(duty_store, sender),
                    Scheduler(duty_store, sender),
                    Reaper(duty_store, registry, worker_timeout_s=settings.worker_timeout),
                    Pruner(WorkerStore(duties)),
                ],
                leadership,
                observer=metrics,
            )
            parts = Parts(leadership, supervisor, registry, workers, dispatch, metrics)
            log.info("orchestrator_starts", node=settings.node_id, boot=boot, address=_address(bound))
            await _serve(parts, bound, stop)
            log.info("orchestrator_stopped", node=settings.node_id)


async def _serve(parts: Parts, bound: socket.socket, stop: asyncio.Event) -> None:
    served = asyncio.Event()
    app = HeartbeatsFirst(api.build(parts), parts.registry)
    async with asyncio.TaskGroup() as group:
        recording = group.create_task(parts.registry.run(served), name="registry")
        working = [
            group.create_task(parts.leadership.run(stop), name="leadership"),
            group.create_task(parts.supervisor.run(stop), name="supervisor"),
        ]
        await lifecycle.serve(app, bound, stop=stop, drain_s=STOP_S)
        served.set()
        _, late = await asyncio.wait([recording, *working], timeout=STOP_S)
        for task in late:
            log.warning("stop_is_late", task=task.get_name())
            task.cancel()


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"{host}:{port}"
