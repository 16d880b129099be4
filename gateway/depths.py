"""What the broker holds, asked once for all who want to know.

Whoever asks waits for READ_S at most, but the question itself is never given up: RabbitMQ's client closes the channel
of a call that was, and with it goes the connection that jobs are published on.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.ports import Broker, LaneDepth
from distriqueue.lifecycle import first_of
from distriqueue.telemetry import get_logger

log = get_logger("depths")

READ_S: Final = 2.0
"""How long the broker gets to answer one who asks."""


@dataclass(slots=True)
class _Reading:
    """One question, and what came of it."""

    done: asyncio.Event = field(default_factory=asyncio.Event)
    depths: Mapping[Priority, LaneDepth] | None = None


class Depths:
    """Reads the broker's depths, one reading at a time; `run` does it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._wanted = asyncio.Event()
        self._next = _Reading()

    async def read(self) -> Mapping[Priority, LaneDepth] | None:
        """Return what each lane holds, read after this call; None when the broker does not say so in READ_S."""
        reading = self._next
        self._wanted.set()
        try:
            async with asyncio.timeout(READ_S):
                await reading.done.wait()
        except TimeoutError:
            log.warning("broker_depths_late", after_s=READ_S)
        return reading.depths

    async def run(self, stop: asyncio.Event) -> None:
        """Read whenever someone wants to know, until `stop`."""
        while not stop.is_set():
            await first_of(self._wanted, stop)
            self._wanted.clear()
            reading, self._next = self._next, _Reading()
            try:
                reading.depths = await self._broker.depths()
            except BrokerUnavailable as exc:
                log.warning("broker_depths_unknown", error=exc.message)
            reading.done.set()
