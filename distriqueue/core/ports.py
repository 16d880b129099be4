"""The broker as its users see it; `distriqueue.broker` has the adapters, `tests/contract` one suite for all of them.

Delivery is at least once and in no promised order; a message that nobody acknowledged comes back. Nothing here decides
whether a job runs: the claim does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch


@dataclass(frozen=True, slots=True)
class Delivery:
    """A dispatch in a consumer's hands, until it acks or releases it."""

    dispatch: Dispatch
    lane: Priority
    tag: int
    """The adapter's own handle."""
    session: int
    """The connection it came by: after a reconnect, acking it does nothing, and it is delivered again."""
    part: int = 0
    """Its place in its message: those of one message have the same tag."""


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """How much of a lane waits and is unacknowledged, and how many consumers take it.

    Postgres counts dispatches; RabbitMQ messages, each of one dispatch or more. None is 0 on both.
    """

    ready: int
    unacked: int
    consumers: int


class Consumer(Protocol):
    """One worker's subscription. Of a lane it holds not many more dispatches than its prefetch: whole messages.

    Dispatches that came in one message go back in one: if one of them is released, all of them are delivered again
    once each is acked or released.
    """

    def waiting(self, lane: Priority) -> int:
        """Return how many deliveries of the lane are at hand."""

    def take(self, lane: Priority) -> Delivery | None:
        """Take the lane's oldest delivery at hand, without waiting."""

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a delivery is at hand in any lane; False after `timeout_s` seconds without one."""

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """The claims are decided: forget these. Idempotent; never raises for a lost connection."""

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give these back, to be delivered to anyone. Never raises for a lost connection."""

    async def pause(self) -> None:
        """Take no more and give back what is at hand, so that others can run it."""

    async def resume(self) -> None:
        """Take again."""

    async def close(self) -> None:
        """Stop; what is unacknowledged goes back to its lane."""


class Broker(Protocol):
    """A connection to the dispatch queues, that heals itself."""

    async def publish(self, dispatches: Sequence[Dispatch]) -> list[bool]:
        """Send all, confirms in flight; tell for each whether the broker holds it safely.

        Of many, several of one lane share a message (`distriqueue.broker.packs`).
        False means "not known to be": send it again later. Never raises for a lost or refusing broker.
        """

    async def consume(self, lanes: Sequence[Priority], *, prefetch: int, consumer_id: str) -> Consumer:
        """Subscribe to the lanes, to hold about `prefetch` dispatches of each.

        When messages grow it may be more for a moment; what is over twice the prefetch is given back.
        """

    async def depths(self) -> Mapping[Priority, LaneDepth]:
        """Return each lane's depth; BrokerUnavailable when the broker does not answer."""

    async def purge(self) -> None:
        """Drop every dispatch in every lane (tests and operators); BrokerUnavailable when it does not answer."""

    @property
    def connected(self) -> bool:
        """Whether the connection is up at this moment."""

    async def close(self) -> None:
        """Close the connection and everything made with it."""
