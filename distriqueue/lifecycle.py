"""How a process starts, works and stops: signals, HTTP serving, and loops that outlive faults."""

import asyncio
import contextlib
import gc
import ipaddress
import random
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import uvicorn

from distriqueue.core.errors import BadSetting, Unavailable
from distriqueue.core.retry import backoff_s
from distriqueue.telemetry import get_logger

log = get_logger("lifecycle")
_rng = random.SystemRandom()

DEAF_S = 20.0
"""A peer that takes no byte for so long is cut off by the kernel: closing alone would wait for it to read the rest."""


YOUNG: Final = 10_000
"""So many more objects made than freed, and the youngest are looked through. Python's 700 come with every few requests,
and looking was a sixth of a busy gateway's time; what is not in a cycle is freed without it."""


def spare_collector() -> None:
    """Say that start-up is over: what it made stays for good, and is not looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


@contextlib.asynccontextmanager
async def stop_signal() -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; a second signal has the default effect, to end a stuck stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def on_signal() -> None:
        stop.set()
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, on_signal)
    try:
        yield stop
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for the event at most `timeout_s` seconds; tell whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


async def run_every(
    interval_s: float,
    step: Callable[[], Awaitable[bool]],
    *,
    name: str,
    stop: asyncio.Event,
    wake: asyncio.Event | None = None,
) -> None:
    """Run `step` until stopped: again at once when it returns True (more to do), else after `interval_s` or a wake.

    `Unavailable` is retried with backoff and jitter; any other error ends the loop, and with it the process.
    """
    failures = 0
    while not stop.is_set():
        pause_s = interval_s
        try:
            if await step():
                pause_s = 0.0
            failures = 0
        except Unavailable as exc:
            failures += 1
            pause_s = max(interval_s, backoff_s(failures, _rng))
            log.warning("loop_backs_off", loop=name, failures=failures, pause_s=round(pause_s, 3), error=str(exc))
        if pause_s:
            await first_of(stop, *([] if wake is None else [wake]), timeout_s=pause_s)
        else:
            await asyncio.sleep(0)
        if wake is not None:
            wake.clear()


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, at most `timeout_s` seconds."""
    if any(event.is_set() for event in events):
        return
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()


def listen(host: str, port: int, *, setting: str) -> socket.socket:
    """Bind the address now, so that a taken port is named at once; BadSetting says which setting to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted here inherits it: an answer's head and body are two writes, and the second would wait 40 ms.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # what is accepted here inherits it
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(DEAF_S * 1000))
    try:
        bound.bind((host, port))
    except OSError as exc:
        bound.close()
        raise BadSetting(f"cannot serve on {host}:{port} ({exc.strerror}): free it or set {setting}") from exc
    return bound


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server on the host."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def require_loopback(host: str, *, insecure: bool, setting: str, has_keys: bool = False) -> None:
    """Refuse to serve the world without keys: BadSetting unless the host is loopback or `insecure` says so."""
    if not (is_loopback(host) or insecure or has_keys):
        raise BadSetting(
            f"{setting}={host} would serve everyone, and there are no API keys: make one by"
            " `distriqueue apikey create`, or serve on 127.0.0.1, or set DISTRIQUEUE_INSECURE=true behind a proxy"
            " that checks callers"
        )


async def serve(app: Any, bound: socket.socket, *, stop: asyncio.Event, drain_s: float = 10.0) -> None:
    """Serve an ASGI app on the socket until `stop`; requests in flight get `drain_s` seconds to end."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=round(drain_s) or 1,
        timeout_keep_alive=65,
        backlog=2048,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[bound]))
        await _either(stop, serving)
        server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: `stop_signal` has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def _either(stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
    async with asyncio.TaskGroup() as group:
        stopped = group.create_task(stop.wait())
        await asyncio.wait((stopped, serving), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
