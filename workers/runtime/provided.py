"""What handlers are given by type: each opened once, when it is first needed, and closed when the worker drains.

Each has a task of its own, which enters and leaves its context manager: some may only be left by the task that entered.
What could not be opened fails the job that wanted it, and the next one tries again.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from distriqueue.core.context import JobContext
from distriqueue.core.errors import DistriQueueError
from distriqueue.telemetry import get_logger
from workers.handlers.registry import Factory, Needed
from workers.runtime.outcome import HANDLER_ERRORS

log = get_logger("worker.provided")

OPEN_S: Final = 30.0
CLOSE_S: Final = 5.0


class NotProvided(DistriQueueError):
    """What the handler asks for cannot be had."""

    code = "dependency_unavailable"

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class Provided:
    """The things that a registry provides, shared by all jobs of the worker."""

    def __init__(self, factories: Mapping[Needed, Factory], group: asyncio.TaskGroup) -> None:
        self._factories = factories
        self._group = group
        self._open: dict[Needed, Any] = {}
        self._opening: dict[Needed, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def given(self, needs: Mapping[str, Needed], context: JobContext) -> dict[str, Any] | None:
        """Return what is needed by name, if all of it is open."""
        try:
            return {name: context if type_ is JobContext else self._open[type_] for name, type_ in needs.items()}
        except KeyError:
            return None

    async def wait(self, needs: Mapping[str, Needed]) -> None:
        """Open what is not open yet; NotProvided says why that is not possible."""
        for type_ in needs.values():
            if type_ is not JobContext and type_ not in self._open:
                await asyncio.shield(self._opened(type_))  # other jobs wait for the same

    async def close(self) -> None:
        """Close what is open, and wait for that."""
        self._closing.set()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in late:
            log.error("dependency_not_closed", dependency=task.get_name())
            task.cancel()

    def _opened(self, type_: Needed) -> "asyncio.Future[Any]":
        opened = self._opening.get(type_)
        if opened is None:
            opened = self._opening[type_] = asyncio.get_running_loop().create_future()
            task = self._group.create_task(self._keep(type_, opened), name=type_.__qualname__)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return opened

    async def _keep(self, type_: Needed, opened: "asyncio.Future[Any]") -> None:
        """Open it, hold it open until `close`, and close it."""
        name = type_.__qualname__
        try:
            async with AsyncExitStack() as stack:
                try:
                    value = await self._enter(type_, stack)
                except NotProvided as exc:
                    opened.set_exception(exc)
                    opened.exception()  # whoever asked may be gone: that is no lost error
                    return
                finally:
                    del self._opening[type_]
                self._open[type_] = value
                opened.set_result(value)
                await self._closing.wait()
                del self._open[type_]
        except HANDLER_ERRORS as exc:  # its clean-up is the handlers' code too
            log.warning("dependency_close_failed", dependency=name, error=f"{type(exc).__name__}: {exc}")

    async def _enter(self, type_: Needed, stack: AsyncExitStack) -> Any:
        factory, name = self._factories.get(type_), type_.__qualname__
        if factory is None:
            raise NotProvided(f"nothing provides {name}: registry.provide({name}, …) is missing", retryable=False)
        try:
            async with asyncio.timeout(OPEN_S):
                return await stack.enter_async_context(factory())
        except HANDLER_ERRORS as exc:
            raise NotProvided(f"{name} cannot be opened: {type(exc).__name__}: {exc}", retryable=True) from exc
