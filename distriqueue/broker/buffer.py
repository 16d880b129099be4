"""The deliveries that a consumer has at hand."""

import asyncio
from collections import deque
from collections.abc import Sequence

from distriqueue.core.job import Priority
from distriqueue.core.ports import Delivery
from distriqueue.lifecycle import wait_for


class LaneBuffers:
    """One queue per lane, oldest first. The prefetch bounds what the adapters put in."""

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
