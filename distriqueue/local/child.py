"""One process kept running: started, probed until it is ready, restarted with backoff when it dies, drained."""

import asyncio
import collections
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from distriqueue.core.retry import Uniform, backoff_s
from distriqueue.lifecycle import wait_for
from distriqueue.local import launch, pids
from distriqueue.local.logs import Lines
from distriqueue.local.pipes import Output, output_pipe
from distriqueue.local.state import Condition, ProcessState, Role

_PROBE_S: Final = 0.05
_STABLE_S: Final = 60.0
_LAST_LINES_S: Final = 1.0
_KILL_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """What is run: the argument list, its environment, when it is ready and how it is stopped."""

    role: Role
    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    url: str | None = None
    ready: Callable[[], Awaitable[bool]] | None = None
    """Asked until it says yes; without it and `ready_line` the program is ready once it runs."""
    ready_line: str | None = None
    """Ready once a line of the log contains this."""
    once: bool = False
    """Does one thing and ends; `ready_s` is how long it may take."""
    ready_s: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    drain_s: float = 15.0
    death_signal: signal.Signals = signal.SIGKILL
    """Sent by the kernel when the supervisor itself is killed."""
    account: str | None = None
    reach: bool = False
    """Whether the account needs root's passage through closed directories, see `launch`."""


class Child:
    """Keeps one program running; `run` is its whole life."""

    def __init__(
        self,
        program: Program,
        *,
        lines: Lines,
        changed: Callable[[], None],
        rng: Uniform | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.program = program
        self.condition = Condition.STARTING
        self.restarts = 0
        self.reason = ""
        self.tail: collections.deque[str] = collections.deque(maxlen=20)
        self._lines = lines
        self._changed = changed
        self._rng = rng or random.SystemRandom()
        self._clock = clock
        self._stop = asyncio.Event()
        self._settled = asyncio.Event()
        self._line_seen = asyncio.Event()
        self._ended = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._pid: pids.Pid | None = None
        self._started_at: str | None = None

    def state(self) -> ProcessState:
        """Describe the process for the state file."""
        return ProcessState(
            role=self.program.role,
            name=self.program.name,
            state=self.condition,
            process=self._pid,
            port=self.program.port,
            url=self.program.url,
            restarts=self.restarts,
            started_at=self._started_at,
        )

    async def run(self) -> None:
        """Live until stopped; a program that dies before it was ever ready is not tried again."""
        failures = 0
        try:
            while True:
                began_s = self._clock()
                status = await self._live_once()
                self._pid = None
                if self._stop.is_set():
                    return
                self.reason = _say(status)
                if self.program.once or not self._settled.is_set():
                    self._become(Condition.STOPPED if self.program.once and status == 0 else Condition.FAILED)
                    return
                failures = 1 if self._clock() - began_s >= _STABLE_S else failures + 1
                pause_s = backoff_s(failures, self._rng, base_s=0.2, cap_s=10.0)
                self.restarts += 1
                self._become(Condition.RESTARTING)
                self._note(f"{self.reason}; starts again in {pause_s:.1f} s")
                if await wait_for(self._stop, pause_s):
                    return
        finally:
            if self.condition is not Condition.FAILED:
                self._become(Condition.STOPPED)
            self._settled.set()
            self._ended.set()

    async def settled(self) -> bool:
        """Wait until the program is ready for the first time; False when it died or took longer than it may."""
        if not await wait_for(self._settled, self.program.ready_s):
            self.reason = f"not ready within {self.program.ready_s:g} s"
            return False
        return self.condition is not Condition.FAILED

    async def finished(self) -> bool:
        """Wait for a program that does one thing and ends; False when it failed or took longer than it may."""
        if not await wait_for(self._ended, self.program.ready_s):
            self.reason = f"not finished within {self.program.ready_s:g} s"
            return False
        return self.condition is Condition.STOPPED

    async def stop(self) -> None:
        """Ask the program to end, and kill it when it has not drained in time; return when it is gone."""
        self._stop.set()
        if self._ended.is_set():
            return
        self._become(Condition.STOPPING)
        self._signal(self.program.stop_signal)
        if not await wait_for(self._ended, self.program.drain_s):
            self._note(f"did not end within {self.program.drain_s:g} s: killed")
            self._signal(signal.SIGKILL)
            await wait_for(self._ended, _KILL_S)

    async def _live_once(self) -> int:
        program = self.program
        async with output_pipe() as output:
            process = await asyncio.create_subprocess_exec(
                *launch.command(program.argv, program.death_signal, account=program.account, reach=program.reach),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=asyncio.subprocess.STDOUT,
                env=program.env,
                # Its own group: Ctrl-C reaches the supervisor only, which then drains in order.
                process_group=0,
            )
            try:
                output.handed_over()
                return await self._accompany(process, output)
            finally:
                if process.returncode is None:
                    process.send_signal(program.death_signal)

    async def _accompany(self, process: asyncio.subprocess.Process, output: Output) -> int:
        self._process = process
        self._pid = pids.of(process.pid)
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._line_seen.clear()
        self._become(Condition.STARTING)
        if self._stop.is_set():
            self._become(Condition.STOPPING)
            self._signal(self.program.stop_signal)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(output))
            probing = group.create_task(self._probe())
            status = await process.wait()
            probing.cancel()
            # What the process left behind in its group would hold the pipe open, and outlive the stack.
            _kill_group(process.pid)
            await asyncio.wait((reading,), timeout=_LAST_LINES_S)
            reading.cancel()
        return status

    async def _probe(self) -> None:
        if self.program.ready_line is not None:
            await self._line_seen.wait()
        while self.program.ready is not None and not await self.program.ready():  # noqa: ASYNC110 -- it asks elsewhere
            await asyncio.sleep(_PROBE_S)
        if self.program.once or self._stop.is_set():
            return
        self._become(Condition.RUNNING)
        self._settled.set()

    async def _read(self, output: Output) -> None:
        async for line in output.lines():
            self.tail.append(line)
            if self.program.ready_line is not None and self.program.ready_line in line:
                self._line_seen.set()
            self._lines.write(self.program.role, self.program.name, line)

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signum)

    def _note(self, text: str) -> None:
        self._lines.write(self.program.role, self.program.name, f"[supervisor] {text}")

    def _become(self, condition: Condition) -> None:
        if condition is not self.condition or condition is Condition.STARTING:
            self.condition = condition
            self._changed()


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _say(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return "ended" if status == 0 else f"ended with exit code {status}"
