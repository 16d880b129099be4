"""An event loop in a thread of its own, for code that blocks; it lives as long as its client."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any, Final, Generic, TypeVar

from distriqueue.core.errors import DistriQueueError

START_S: Final = 10.0
STOP_S: Final = 10.0
T = TypeVar("T")


class Portal:
    """Runs coroutines for other threads, within an async context manager that is entered and left in the loop."""

    def __init__(self, within: AbstractAsyncContextManager[Any]) -> None:
        """Start the thread; raises what entering raises."""
        self._within = within
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._main, name="distriqueue-client", daemon=True)
        self._thread.start()
        if not self._started.wait(START_S):
            raise DistriQueueError(f"the client's thread has not started within {START_S:g} s")
        if self._error is not None:
            raise self._error

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop and return what it returns; an interrupt (Ctrl-C) cancels it."""
        if self._loop is None or self._pid != os.getpid() or not self._thread.is_alive():
            work.close()
            raise DistriQueueError("this client is closed, or of another process: make one in each process")
        call = _Call(work)
        try:
            return asyncio.run_coroutine_threadsafe(call.run(), self._loop).result()
        except BaseException:
            with suppress(RuntimeError):  # the loop has ended, and all that ran in it
                self._loop.call_soon_threadsafe(call.give_up)
            raise

    def iterate(self, items: AsyncGenerator[T]) -> Generator[T]:
        """Yield what an async generator yields; it is closed with this one."""
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if self._thread.is_alive():
                self.run(items.aclose())

    @contextmanager
    def within(self, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter an async context in the loop, and leave it there; how the block ended is not told to it."""
        entered = self.run(_enter(context))
        try:
            yield entered
        finally:
            if self._thread.is_alive():
                self.run(_leave(context))

    def close(self) -> None:
        """Leave the context and end the thread; what still runs is cancelled. Once is enough, twice does no harm."""
        if self._loop is not None and self._pid == os.getpid() and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_S)

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:  # raised again in the thread that waits for the start
            self._error = exc
            if self._started.is_set():
                raise
        finally:
            self._started.set()

    async def _serve(self) -> None:
        async with self._within:
            self._loop = asyncio.get_running_loop()
            self._started.set()
            await self._stop.wait()  # for the client's close


class _Call(Generic[T]):
    """A coroutine that can be given up from the moment on at which it is thought of: an interrupt comes at any time."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._given_up = False

    async def run(self) -> T:
        """Run it, in the loop."""
        self._task = asyncio.current_task()
        if self._given_up:
            self._work.close()
            raise asyncio.CancelledError
        return await self._work

    def give_up(self) -> None:
        """Cancel it, in the loop; nothing happens when it has ended."""
        self._given_up = True
        if self._task is not None:
            self._task.cancel()


async def _enter(context: AbstractAsyncContextManager[T]) -> T:
    return await context.__aenter__()


async def _leave(context: AbstractAsyncContextManager[Any]) -> None:
    await context.__aexit__(None, None, None)


async def _next(items: AsyncGenerator[T]) -> T:
    return await anext(items)
