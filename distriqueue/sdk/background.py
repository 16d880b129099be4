"""Tasks of a client that outlive one call, and end with the client."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from distriqueue.core.errors import DistriQueueError


class Background:
    """Owns the tasks; each must handle its own errors, for one that raises ends the whole client."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        for task in tuple(self._tasks):
            task.cancel()
        # Without the caller's error: the group would wrap it.
        await self._group.__aexit__(None, None, None)

    @property
    def count(self) -> int:
        """How many run."""
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run it until it ends, or the client does; DistriQueueError when the client is not open."""
        if not self._open:
            work.close()
            raise DistriQueueError("the client is not open: use it within `async with AsyncClient() as client`")
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
