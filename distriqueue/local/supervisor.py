"""All processes of a stack: started stage by stage, kept running, drained in the reverse order."""

import asyncio
import time
from collections.abc import Callable

from distriqueue.core.errors import DistriQueueError
from distriqueue.local.child import Child, Program
from distriqueue.local.logs import Lines
from distriqueue.local.state import ProcessState


class StartFailed(DistriQueueError):
    """A process did not come up; `name` is its log, `tail` the last lines it wrote."""

    code = "start_failed"

    def __init__(self, name: str, reason: str, tail: list[str]) -> None:
        super().__init__(f"{name} did not start: {reason}")
        self.name = name
        self.tail = tail


class Supervisor:
    """Owns the processes; `changed` is called whenever one of them changes."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        *,
        lines: Lines,
        announce: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._group = group
        self._lines = lines
        self._announce = announce
        self._changed = changed
        self._stages: list[list[Child]] = []

    def processes(self) -> tuple[ProcessState, ...]:
        """Describe every process, in the order of start."""
        return tuple(child.state() for stage in self._stages for child in stage)

    async def start(self, *programs: Program) -> None:
        """Start one stage and wait until all of it is ready; StartFailed names the first that is not."""
        began_s = time.monotonic()
        stage = [self._child(program) for program in programs]
        self._stages.append(stage)
        for child in stage:
            self._group.create_task(child.run())
        for child in stage:
            if not await child.settled():
                raise StartFailed(child.program.name, child.reason, list(child.tail))
            where = f" at {child.program.url}" if child.program.url else ""
            self._announce(f"{child.program.name} is ready{where} ({time.monotonic() - began_s:.1f} s)")

    async def run(self, program: Program) -> None:
        """Run a program that does one thing and ends; StartFailed when it failed."""
        began_s = time.monotonic()
        child = self._child(program)
        self._stages.append([child])
        self._group.create_task(child.run())
        if not await child.finished():
            raise StartFailed(program.name, child.reason, list(child.tail))
        self._stages.remove([child])
        self._announce(f"{program.name} is done ({time.monotonic() - began_s:.1f} s)")

    async def drain(self) -> None:
        """Stop the stages in the reverse order of their start, each as a whole."""
        for stage in reversed(self._stages):
            self._announce(f"stopping {', '.join(child.program.name for child in stage)}")
            async with asyncio.TaskGroup() as group:
                for child in stage:
                    group.create_task(child.stop())

    def _child(self, program: Program) -> Child:
        return Child(program, lines=self._lines, changed=self._changed)
