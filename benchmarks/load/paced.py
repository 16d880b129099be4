"""Drives a library's own client: its tasks are enqueued by async callers, or by threads."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from benchmarks.load.plan import Plan, Submitted, due

LEAD_NS: Final = 20_000_000
"""Before the first arrival of an open loop."""


async def submit_async(plan: Plan, enqueue: Callable[[Sequence[int]], Awaitable[object]]) -> Submitted:
    """Enqueue from the event loop."""
    async with asyncio.timeout(plan.timeout_s):
        return await (_open_async(plan, enqueue) if plan.per_s else _closed_async(plan, enqueue))


def submit_threads(plan: Plan, enqueue: Callable[[Sequence[int]], object]) -> Submitted:
    """Enqueue from so many threads as there may be callers."""
    submissions = plan.submissions()
    with ThreadPoolExecutor(plan.callers) as callers:
        if plan.per_s is None:
            waiting = iter(submissions)
            lock = threading.Lock()

            def call() -> None:
                while True:
                    with lock:
                        numbers = next(waiting, None)
                    if numbers is None:
                        return
                    enqueue(numbers)

            first_ns = time.monotonic_ns()
            for each in [callers.submit(call) for _ in range(plan.callers)]:
                each.result(plan.timeout_s)
            return Submitted(first_ns, time.monotonic_ns())

        def timed(numbers: Sequence[int]) -> int:
            enqueue(numbers)
            return time.monotonic_ns()

        begins = time.monotonic_ns() + LEAD_NS
        times, answers = tuple(due(plan, begins)), []
        for at_ns, numbers in zip(times, submissions, strict=True):
            sleep_until(at_ns)
            answers.append(callers.submit(timed, numbers))
        answered = tuple(answer.result(plan.timeout_s) for answer in answers)
        return Submitted(times[0], max(answered), due_ns=times, answered_ns=answered)


async def _closed_async(plan: Plan, enqueue: Callable[[Sequence[int]], Awaitable[object]]) -> Submitted:
    waiting = iter(plan.submissions())

    async def call() -> None:
        for numbers in waiting:
            await enqueue(numbers)

    first_ns = time.monotonic_ns()
    async with asyncio.TaskGroup() as group:
        for _ in range(plan.callers):
            group.create_task(call())
    return Submitted(first_ns, time.monotonic_ns())


async def _open_async(plan: Plan, enqueue: Callable[[Sequence[int]], Awaitable[object]]) -> Submitted:
    submissions = plan.submissions()
    answered = [0] * len(submissions)

    async def call(place: int) -> None:
        await enqueue(submissions[place])
        answered[place] = time.monotonic_ns()

    async with asyncio.TaskGroup() as group:
        times = await arrivals(plan, lambda place: _start(group, call(place)))
    return Submitted(times[0], max(answered), due_ns=times, answered_ns=tuple(answered))


def _start(group: asyncio.TaskGroup, call: Awaitable[None]) -> None:
    assert asyncio.iscoroutine(call)
    group.create_task(call)


async def arrivals(plan: Plan, arrive: Callable[[int], None]) -> tuple[int, ...]:
    """Call `arrive` in the loop with the place of each submission when it is due; return when they all were.

    A thread keeps the time: the loop's timers are a millisecond coarse, which is much of what is measured.
    """
    loop = asyncio.get_running_loop()
    times = tuple(due(plan, time.monotonic_ns() + LEAD_NS))

    def keep_time() -> None:
        for place, at_ns in enumerate(times):
            sleep_until(at_ns)
            loop.call_soon_threadsafe(arrive, place)

    await asyncio.to_thread(keep_time)
    return times


def sleep_until(at_ns: int) -> None:
    """Block until a time of `time.monotonic_ns`, to about 0.1 ms."""
    while (left_ns := at_ns - time.monotonic_ns()) > 0:
        time.sleep(left_ns / 1e9)
