"""How a peer is started."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks.model import Guarantees, Scene
from benchmarks.systems.marks import VARIABLE, Marks
from benchmarks.systems.programs import Programs
from benchmarks.systems.system import Stored, System

DATABASE: Final = "BENCHMARK_DATABASE"
RABBITMQ: Final = "BENCHMARK_RABBITMQ"
"""Where the servers are, in the environment of a peer's programs."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that is called through its own client library, by `python -m APP`, which reads a plan."""

    app: str
    workers: Mapping[str, tuple[str, ...]]
    """By name, what `python -m` is to run."""
    guarantees: Guarantees
    database: bool = False
    rabbitmq: bool = False
    installs: bool = False
    """Whether `python -m APP install` makes its tables."""
    env: Mapping[str, str] = field(default_factory=dict)
    count: str = ""
    ends: str = ""
    """Where results are stored: the statements of `Stored`."""

    @asynccontextmanager
    async def opened(self, scene: Scene) -> AsyncIterator[System]:
        """Start it."""
        scene.progress("starting")
        marks = Marks(scene.home / "marks")
        env = {VARIABLE: str(marks.path), **self.env}
        if self.database:
            env[DATABASE] = await scene.database()
        if self.rabbitmq:
            env[RABBITMQ] = await scene.rabbitmq()
        async with Programs(scene.home, env) as programs:
            if self.installs:
                await programs.call(self.app, "install")
            async with asyncio.TaskGroup() as group:
                for name, argv in self.workers.items():
                    group.create_task(programs.start(name, *argv))
            yield System(programs, marks, self.app, Stored(env[DATABASE], self.count, self.ends) if self.ends else None)
