"""Which ports are free, and who holds one that is not."""

import contextlib
import os
import random
import socket
from collections.abc import Iterable
from typing import Final

import psutil

from distriqueue.core.errors import Conflict

LOOPBACK: Final = "127.0.0.1"
_CHOICE: Final = range(20_000, 32_000)
"""Below the ports that systems hand to outgoing connections: a client that calls a stopped server again and again
would else be given the server's own port one day, connect to itself and keep the server from coming back."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on the port now."""
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_block(count: int = 1) -> int:
    """Return the first of `count` free ports in a row."""
    for _ in range(1000):
        first = random.SystemRandom().randrange(_CHOICE.start, _CHOICE.stop - count)
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise Conflict(f"no {count} free ports in a row between {_CHOICE.start} and {_CHOICE.stop}: stop what holds them")


def require_free(wanted: Iterable[tuple[int, str]], host: str) -> None:
    """Raise Conflict for the first port, given with its use, that is taken: who has it, and what to do."""
    for port, use in wanted:
        if not is_free(port, host):
            raise Conflict(
                f"port {port} ({use}) is taken by {holder(port)}: "
                "stop that, or choose other ports with --port (the gateway's; orchestrators follow it)"
            )


def holder(port: int) -> str:
    """Say which process listens on the port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:] == (port,):
                return f"process {connection.pid} ({_command(connection.pid)})"
    return "another process" if os.geteuid() == 0 else "a process of another user, or one that cannot be told"


def _command(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return " ".join(process.cmdline())[:100] or process.name()
    return "unknown"
