"""The loop in a thread: what it runs, how it ends."""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator

import pytest

from distriqueue.core.errors import DistriQueueError
from distriqueue.sdk.portal import Portal


class Context(contextlib.AbstractAsyncContextManager[None]):
    """Notes in which thread it was entered and left."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    async def __aenter__(self) -> None:
        self.threads.append(threading.current_thread().name)

    async def __aexit__(self, *_error: object) -> None:
        self.threads.append(threading.current_thread().name)


async def add(one: int, other: int) -> int:
    await asyncio.sleep(0)
    return one + other


async def fail() -> None:
    raise LookupError("nothing there")


def test_it_runs_what_it_is_given_and_raises_what_that_raises() -> None:
    context = Context()
    portal = Portal(context)
    assert portal.run(add(1, 2)) == 3
    with pytest.raises(LookupError, match="nothing there"):
        portal.run(fail())
    portal.close()
    portal.close()
    assert context.threads == ["distriqueue-client"] * 2
    with pytest.raises(DistriQueueError, match="closed"):
        portal.run(add(1, 2))


def test_many_threads_share_it() -> None:
    portal = Portal(Context())
    sums: list[int] = []
    threads = [threading.Thread(target=lambda n=n: sums.append(portal.run(add(n, n)))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    portal.close()
    assert sorted(sums) == list(range(0, 40, 2))


def test_what_does_not_start_says_why() -> None:
    class Broken(Context):
        async def __aenter__(self) -> None:
            raise LookupError("no such place")

    with pytest.raises(LookupError, match="no such place"):
        Portal(Broken())


def test_iteration_closes_the_generator() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            for n in range(10):
                yield n
        finally:
            closed.append(True)

    portal = Portal(Context())
    assert list(portal.iterate(numbers())) == list(range(10))
    for n in portal.iterate(numbers()):
        if n == 3:
            break
    portal.close()
    assert closed == [True, True]


def test_a_context_is_entered_and_left_in_the_loop() -> None:
    portal = Portal(Context())
    inner = Context()
    with pytest.raises(LookupError), portal.within(inner):
        raise LookupError
    portal.close()
    assert inner.threads == ["distriqueue-client"] * 2


def test_an_interrupt_cancels_what_runs() -> None:
    portal = Portal(Context())
    cancelled = threading.Event()
    began = threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupt() -> None:
        began.wait(5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    presser = threading.Thread(target=interrupt)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        portal.run(wait())
    assert cancelled.wait(5)
    presser.join(5)
    portal.close()


def test_closing_ends_what_runs() -> None:
    portal = Portal(Context())
    began = threading.Event()
    ends: list[str] = []

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            portal.run(wait())
        except concurrent.futures.CancelledError as exc:
            ends.append(type(exc).__name__)

    caller = threading.Thread(target=call)
    caller.start()
    began.wait(5)
    began_at = time.monotonic()
    portal.close()
    caller.join(5)
    assert ends == ["CancelledError"]
    assert time.monotonic() - began_at < 5


def test_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = Portal(Context())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(DistriQueueError, match="each process"):
        portal.run(add(1, 2))
    monkeypatch.undo()
    portal.close()
