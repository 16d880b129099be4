"""`python -m gateway`: serve the REST API, configured by `DISTRIQUEUE_*`."""

import asyncio
import socket
import sys

import uvloop

from distriqueue import __version__
from distriqueue.core.errors import BadSetting
from distriqueue.lifecycle import listen, serve, spare_collector, stop_signal
from distriqueue.settings import BrokerSettings, GatewaySettings, LogSettings, StoreSettings, TraceSettings
from distriqueue.telemetry import configure_logging, get_logger
from distriqueue.telemetry.tracing import open_tracing
from gateway.app import build, open_parts, run_parts
from gateway.hub import Hub
from gateway.parts import Parts

log = get_logger("gateway")


async def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted."""
    settings, store, dispatch = GatewaySettings.load(), StoreSettings.load(), BrokerSettings.load()
    bound = listen(settings.gateway_host, settings.gateway_port, setting="DISTRIQUEUE_GATEWAY_PORT")
    with open_tracing(TraceSettings.load(), service="gateway", version=__version__) as tracing:
        async with stop_signal() as stop, open_parts(settings, store, dispatch, tracing=tracing) as parts:
            await _serve(settings, parts, bound, stop)
    log.info("gateway_stopped")


async def _serve(settings: GatewaySettings, parts: Parts, bound: socket.socket, stop: asyncio.Event) -> None:
    served = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_parts(parts, served))
        group.create_task(_close_streams(parts.hub, stop))
        log.info("gateway_serving", host=settings.gateway_host, port=bound.getsockname()[1])
        app = build(parts)
        spare_collector()
        await serve(app, bound, stop=stop)
        served.set()


async def _close_streams(hub: Hub, stop: asyncio.Event) -> None:
    await stop.wait()
    hub.close()


if __name__ == "__main__":
    try:
        configure_logging(LogSettings.load(), service="gateway")
        uvloop.run(main())
    except* BadSetting as group:
        sys.stderr.write("".join(f"gateway: {exc}\n" for exc in group.exceptions))
        sys.exit(2)
