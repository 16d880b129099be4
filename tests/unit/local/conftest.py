"""Small stand-in programs for the supervisor, and a place that keeps what they wrote."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Final

import pytest

from distriqueue.local.child import Child, Program
from distriqueue.local.state import Role

DRAINS: Final = """
import signal, sys
signal.signal(15, lambda *_: sys.exit("drained"))
print("up", flush=True)
signal.pause()
"""
STUBBORN: Final = """
import signal
signal.signal(15, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""


def program(code: str, name: str = "gateway1", role: Role = Role.GATEWAY, **changes: object) -> Program:
    """Return a program that runs a few lines of Python and says `up` when it is ready."""
    made = Program(role=role, name=name, argv=(sys.executable, "-I", "-S", "-c", code), ready_line="up", drain_s=10.0)
    return replace(made, **changes)  # type: ignore[arg-type]


class KeptLines:
    """Keeps every line with the name of its process."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []

    def write(self, role: Role, name: str, line: str) -> None:  # noqa: ARG002 -- the port's
        """Keep the line."""
        self.kept.append((name, line))

    def of(self, name: str) -> list[str]:
        """Return the lines of one process."""
        return [line for owner, line in self.kept if owner == name]


@pytest.fixture
def lines() -> KeptLines:
    return KeptLines()


class Halves:
    """Randomness that always gives the longest wait."""

    def random(self) -> float:
        """Return nearly 1."""
        return 0.9999999


@contextlib.asynccontextmanager
async def living(child: Child) -> AsyncIterator[Child]:
    """Let a child live while the block runs, and stop it after."""
    async with asyncio.TaskGroup() as group:
        group.create_task(child.run())
        try:
            yield child
        finally:
            await child.stop()


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for a condition on what another process did."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 -- nothing of ours is set by it
            await asyncio.sleep(0.005)


Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
