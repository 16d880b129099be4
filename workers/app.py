"""The worker's composition root: settings in, a worker that runs until it is told to stop."""

import asyncio
import logging
import os
import secrets
import signal
from contextlib import AsyncExitStack, closing

from distriqueue import __version__
from distriqueue.broker import connect
from distriqueue.lifecycle import listen, serve, spare_collector, stop_signal
from distriqueue.settings import BrokerSettings, TraceSettings, WebhookSettings, WorkerSettings
from distriqueue.telemetry.tracing import open_tracing
from workers.handlers import webhook
from workers.handlers.registry import Registry
from workers.metrics import Metrics
from workers.runtime.gateway import Gateways
from workers.runtime.worker import Worker, WorkerConfig


async def run(
    settings: WorkerSettings,
    broker_settings: BrokerSettings,
    webhook_settings: WebhookSettings,
    registry: Registry,
    traces: TraceSettings,
) -> None:
    """Run a worker until SIGTERM, SIGINT or an orchestrator's wish; a second signal ends the process at once."""
    config = WorkerConfig(
        worker_id=f"{settings.worker_id}.{secrets.token_hex(3)}",
        capacity=settings.worker_capacity,
        lanes=settings.worker_queues,
        strict=settings.worker_strict,
        drain_s=settings.worker_drain,
        orchestrators=settings.orchestrator_urls,
        api_key=settings.api_key,
    )
    handlers = with_webhooks(registry, webhook_settings)
    handlers.check()
    async with AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_signal())
        gateway = await stack.enter_async_context(Gateways(settings.gateway_url, api_key=settings.api_key))
        broker = await stack.enter_async_context(
            connect(
                broker_settings.broker_url.get_secret_value(),
                publish_timeout_s=broker_settings.publish_timeout,
            )
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        impatience = group.create_task(_let_second_signal_kill(stop))
        metrics = _serve_metrics(settings, handlers, stack, group, stop)
        tracing = stack.enter_context(open_tracing(traces, service="worker", version=__version__))
        worker = Worker(config, handlers, broker, gateway, on_stuck=_exit_now, metrics=metrics, tracing=tracing)
        spare_collector()
        await worker.run(stop)
        impatience.cancel()


def _serve_metrics(
    settings: WorkerSettings, handlers: Registry, stack: AsyncExitStack, group: asyncio.TaskGroup, stop: asyncio.Event
) -> Metrics | None:
    """Serve the worker's figures until `stop`, if there is a port for it."""
    if not settings.worker_metrics_port:
        return None
    bound = listen(
        settings.worker_metrics_host, settings.worker_metrics_port, setting="DISTRIQUEUE_WORKER_METRICS_PORT"
    )
    stack.enter_context(closing(bound))
    metrics = Metrics(handlers.types)
    stack.enter_context(metrics.lag.measured())
    group.create_task(serve(metrics, bound, stop=stop, drain_s=1.0))
    return metrics


def with_webhooks(registry: Registry, settings: WebhookSettings) -> Registry:
    """Return the registry with `distriqueue.webhook`, which every worker handles; one that has its own keeps that."""
    if registry.get(webhook.TYPE) is not None:
        return registry
    complete = Registry()
    complete.include(registry)
    complete.include(webhook.registry(settings))
    return complete


async def _let_second_signal_kill(stop: asyncio.Event) -> None:
    """Python would make a KeyboardInterrupt of a second Ctrl-C, and wait for the handlers again."""
    await stop.wait()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _exit_now() -> None:
    logging.shutdown()
    os._exit(0)
