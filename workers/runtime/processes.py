"""CPU-bound handlers in child processes: reused while they behave, killed by a timeout or a cancel.

A child is started when an attempt finds none idle, so there are at most as many as slots; no more than the machine has
cores are kept idle. A child that dies is a failed attempt with its signal named, and the next attempt gets a new one.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from typing import Any, Final, Self

import orjson

from distriqueue.core.errors import DistriQueueError
from distriqueue.telemetry import get_logger
from workers.runtime.attempt import Attempt, Stop
from workers.runtime.frames import LENGTHS, job_frame, read_end, read_news
from workers.runtime.outcome import INTERRUPTED, Outcome, failure
from workers.runtime.runner import Done

log = get_logger("worker.processes")

START_TIMEOUT_S: Final = 30.0
KILL_GRACE_S: Final = 5.0
Begun = Callable[[Attempt], None]


class ChildDied(DistriQueueError):
    """The child process ended before its attempt did."""

    code = "process_died"

    def __init__(self, message: str, *, begun: bool) -> None:
        super().__init__(message)
        self.begun = begun
        """Whether the handler had been called."""


class Child:
    """One child process and the socket to it."""

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> Self:
        """Start a child and wait until it is ready; ChildDied when it does not come up."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "workers.runtime.child", str(theirs.fileno()), str(os.getpid())),
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        child = cls(process, reader, writer)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await child._read()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as exc:
            raise ChildDied(f"a child process did not start ({await child.kill()})", begun=False) from exc
        except asyncio.CancelledError:
            await child.kill()
            raise
        return child

    @property
    def alive(self) -> bool:
        """Whether it can take an attempt, as far as we know."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def run(self, attempt: Attempt, begun: Begun) -> Outcome:
        """Run the attempt; ChildDied when the process ends first."""
        is_begun = False
        job = job_frame(attempt.handler.reference, attempt.timeout_s, sys.path, attempt.dispatch, attempt.granted)
        try:
            self._writer.write(job)
            await self._writer.drain()
            while True:
                header, body = await self._read()
                match header["kind"]:
                    case "begun":
                        is_begun = True
                        begun(attempt)
                    case "progress":
                        attempt.context.progress(header["percent"], header["message"])
                    case "news":
                        attempt.context.relay(*read_news(header, body))
                    case _:
                        return read_end(header, body)
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise ChildDied(f"the child process died: {await self.kill()}", begun=is_begun) from exc

    async def kill(self) -> str:
        """End it and all it started, now; tell how it ended (its own doing, if it was gone already)."""
        self._writer.close()
        code: int | None = None
        with contextlib.suppress(TimeoutError):
            # Its socket may be closed a moment before the system says how it died.
            async with asyncio.timeout(0.0 if self._reader.at_eof() is False else 0.5):
                code = await self._process.wait()
        if code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            code = await self._process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"

    async def _read(self) -> tuple[dict[str, Any], bytes]:
        header_bytes, body_bytes = LENGTHS.unpack(await self._reader.readexactly(LENGTHS.size))
        header = orjson.loads(await self._reader.readexactly(header_bytes))
        return header, await self._reader.readexactly(body_bytes)


class ProcessRunner:
    """Keeps the idle children, the last used first."""

    def __init__(self, group: asyncio.TaskGroup, done: Done, *, begun: Begun) -> None:
        self._group = group
        self._done = done
        self._begun = begun
        self._idle: list[Child] = []
        self._keep = os.cpu_count() or 1

    def grace_s(self, _reason: Stop) -> float:
        """Killing is sure; this is for a machine that hardly breathes."""
        return KILL_GRACE_S

    def start(self, attempt: Attempt) -> None:
        """Run the attempt in an idle child, or in a new one."""
        attempt.task = self._group.create_task(self._run(attempt))

    def stop(self, attempt: Attempt) -> None:
        """Kill the child, unless there is none yet: the task's first step looks for itself."""
        if attempt.task is not None and attempt.began:
            attempt.task.cancel()

    async def close(self) -> None:
        """End the idle children."""
        while self._idle:
            await self._idle.pop().kill()

    async def _run(self, attempt: Attempt) -> None:
        attempt.began = True
        outcome = INTERRUPTED
        if attempt.stop is None:
            try:
                outcome = await self._in_child(attempt)
            except ChildDied as exc:
                outcome = failure(exc.code, exc.message, retryable=True)
            except asyncio.CancelledError:
                if attempt.stop is None:
                    raise  # not the attempt: the whole worker is being torn down
        self._done(attempt, outcome)

    async def _in_child(self, attempt: Attempt) -> Outcome:
        while self._idle:
            child = self._idle.pop()
            try:
                return await self._use(child, attempt)
            except ChildDied as exc:
                if exc.begun:
                    raise
                log.info("idle_child_had_died", error=str(exc))  # it never saw the attempt: take another
        return await self._use(await Child.start(), attempt)

    async def _use(self, child: Child, attempt: Attempt) -> Outcome:
        try:
            outcome = await child.run(attempt, self._begun)
        except asyncio.CancelledError:
            await child.kill()
            raise
        if child.alive and len(self._idle) < self._keep:
            self._idle.append(child)
        else:
            await child.kill()
        return outcome
