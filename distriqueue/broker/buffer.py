"""The deliveries that a consumer has at hand."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import takewhile

from distriqueue.core.job import Priority
from distriqueue.core.ports import Delivery
from distriqueue.lifecycle import wait_for


class LaneBuffers:
    """One queue per lane, oldest first."""

    def __init__(self, lanes: Sequence[Priority]) -> None:
        self._waiting: dict[Priority, deque[Delivery]] = {lane: deque() for lane in lanes}
        self._arrived = asyncio.Event()

    def put(self, delivery: Delivery) -> None:
        """Add a delivery and wake who waits for one."""
        self._waiting[delivery.lane].append(delivery)
        self._arrived.set()

    def waiting(self, lane: Priority) -> int:
        """Return how many of the lane are at hand."""
        return len(self._waiting.get(lane, ()))

    def take(self, lane: Priority) -> Delivery | None:
        """Take the lane's oldest, if any."""
        waiting = self._waiting.get(lane)
        return waiting.popleft() if waiting else None

    def surplus(self, lane: Priority, jobs: int) -> list[Delivery]:
        """Take the newest whole messages of the lane that have no more than so many dispatches together."""
        waiting = self._waiting[lane]
        taken: list[Delivery] = []
        while waiting:
            tag = waiting[-1].tag
            message = list(takewhile(lambda each: each.tag == tag, reversed(waiting)))  # noqa: B023 - used up at once
            if len(taken) + len(message) > jobs:
                break
            taken.extend(waiting.pop() for _ in message)
        return taken

    def drain(self) -> list[Delivery]:
        """Take all."""
        drained = [delivery for waiting in self._waiting.values() for delivery in waiting]
        for waiting in self._waiting.values():
            waiting.clear()
        return drained

    async def wait(self, timeout_s: float) -> bool:
        """Wait until one is at hand; False after `timeout_s` seconds without one."""
        if not any(self._waiting.values()):
            self._arrived.clear()
            await wait_for(self._arrived, timeout_s)
        return any(self._waiting.values())
