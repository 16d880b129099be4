"""Consuming from RabbitMQ: a channel, and so a row of delivery tags, per lane."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import aiormq
from aiormq.abc import DeliveredMessage

from distriqueue.broker.buffer import LaneBuffers
from distriqueue.broker.rabbitmq_frames import settle_plan
from distriqueue.broker.rabbitmq_session import CALL_S, Session, faults
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch, UnreadableDispatch
from distriqueue.core.ports import Delivery
from distriqueue.telemetry import get_logger

log = get_logger("broker")


class _Owner(Protocol):
    def forget(self, consumer: "RabbitMQConsumer") -> None: ...


@dataclass(slots=True)
class _Subscription:
    """One lane of one session."""

    lane: Priority
    session: Session
    channel: aiormq.Channel
    consumer_tag: str = ""
    """New at every subscribing: see `_subscribe`."""
    unsettled: dict[int, None] = field(default_factory=dict)
    """Delivery tags neither acked nor released, oldest first."""


class RabbitMQConsumer:
    """`core.ports.Consumer`; the broker attaches it to each new session."""

    def __init__(self, owner: _Owner, lanes: Sequence[Priority], *, prefetch: int, consumer_id: str) -> None:
        self._owner = owner
        self._lanes = tuple(lanes)
        self._prefetch = prefetch
        self._consumer_id = consumer_id
        self._buffers = LaneBuffers(lanes)
        self._subscriptions: dict[Priority, _Subscription] = {}
        # Subscribing and settling, one at a time: a `multiple` ack that overtakes a single one would close the channel.
        self._turn = asyncio.Lock()
        self._paused = False
        self._closed = False
        self._subscribed = 0

    def waiting(self, lane: Priority) -> int:
        """Return how many deliveries of the lane are at hand."""
        return self._buffers.waiting(lane)

    def take(self, lane: Priority) -> Delivery | None:
        """Take the lane's oldest delivery at hand, without waiting."""
        return None if self._paused else self._buffers.take(lane)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a delivery is at hand in any lane; False after `timeout_s` seconds without one."""
        return await self._buffers.wait(timeout_s)

    def unacked(self, lane: Priority) -> int:
        """Return how many deliveries of the lane we hold, at hand or taken."""
        subscription = self._subscriptions.get(lane)
        return len(subscription.unsettled) if subscription else 0

    async def attach(self, session: Session) -> None:
        """Subscribe in this session, from nothing; BrokerUnavailable when that fails."""
        async with self._turn:
            if self._closed or session.number in {s.session.number for s in self._subscriptions.values()}:
                return
            self.detach()
            with faults():
                async with asyncio.timeout(CALL_S):
                    for lane in self._lanes:
                        channel = await session.channel()
                        await channel.basic_qos(prefetch_count=self._prefetch)
                        subscription = _Subscription(lane, session, channel)
                        self._subscriptions[lane] = subscription
                        if not self._paused:
                            await self._subscribe(subscription)

    def detach(self) -> None:
        """Drop what came by an old session: the broker delivers it again."""
        self._subscriptions = {}
        self._buffers.drain()

    def inspect(self, session: Session) -> None:
        """Fail the session when a lane that should flow has no consumer on its channel."""
        if self._turn.locked() or self._closed:
            return
        flowing = [s for s in self._subscriptions.values() if s.session is session]
        if len(flowing) < len(self._lanes):
            session.fail("a lane has no channel")
        elif not self._paused and any(s.consumer_tag not in s.channel.consumers for s in flowing):
            session.fail("a channel has no consumer")

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """The claims are decided: forget these. Idempotent; never raises for a lost connection."""
        await self._settle(deliveries, release=False)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give these back, to be delivered to anyone. Never raises for a lost connection."""
        await self._settle(deliveries, release=True)

    async def pause(self) -> None:
        """Take no more and give back what is at hand, so that others can run it."""
        self._paused = True
        async with self._turn:
            # Cancel first: what is given back while we consume comes to us again.
            await self._each(lambda s: s.channel.basic_cancel(s.consumer_tag))
        await self._settle(self._buffers.drain(), release=True)

    async def resume(self) -> None:
        """Take again."""
        async with self._turn:
            if self._paused and not self._closed:
                self._paused = False
                await self._each(self._subscribe)

    async def close(self) -> None:
        """Stop; what is unacknowledged goes back to its lane."""
        if self._closed:
            return
        self._closed = True
        self._owner.forget(self)
        async with self._turn:
            await self._each(lambda s: s.session.close_channel(s.channel))
            self.detach()

    async def _subscribe(self, subscription: _Subscription) -> None:
        async def on_message(message: DeliveredMessage) -> None:
            await self._on_message(subscription, message)

        # Never the same tag twice: what is still on its way under a cancelled one makes a channel of RabbitMQ before
        # 3.10.9 and 3.11.1 crash (rabbitmq-server #5927), and with it the connection.
        self._subscribed += 1
        subscription.consumer_tag = f"{self._consumer_id}.{subscription.lane.queue}.{self._subscribed}"[-255:]
        await subscription.channel.basic_consume(
            subscription.lane.queue, on_message, consumer_tag=subscription.consumer_tag, timeout=CALL_S
        )

    async def _on_message(self, subscription: _Subscription, message: DeliveredMessage) -> None:
        tag = message.delivery_tag
        if tag is None or self._subscriptions.get(subscription.lane) is not subscription:
            return
        subscription.unsettled[tag] = None
        try:
            dispatch = Dispatch.decode(message.body)
        except UnreadableDispatch as exc:
            log.warning(
                "dispatch_unreadable", lane=subscription.lane.value, size_bytes=len(message.body), error=str(exc)
            )
            await self._bury(subscription, tag)
            return
        self._buffers.put(
            Delivery(dispatch=dispatch, lane=subscription.lane, tag=tag, session=subscription.session.number)
        )

    async def _bury(self, subscription: _Subscription, tag: int) -> None:
        """Reject without requeue: the queue sends it to the dead-letter queue."""
        try:
            with faults():
                async with self._turn, asyncio.timeout(CALL_S):
                    del subscription.unsettled[tag]
                    await subscription.channel.basic_reject(tag, requeue=False, wait=False)
        except BrokerUnavailable as exc:
            subscription.session.fail(str(exc))

    async def _settle(self, deliveries: Sequence[Delivery], *, release: bool) -> None:
        async with self._turn:
            for lane, subscription in self._subscriptions.items():
                session = subscription.session
                tags = [d.tag for d in deliveries if d.lane is lane and d.session == session.number]
                if not tags or session.lost.is_set():
                    continue
                try:
                    with faults():
                        async with asyncio.timeout(CALL_S):
                            await _settle(subscription, tags, release=release)
                except BaseException as exc:
                    # Half told: only a new session is sure to have all of it delivered again.
                    session.fail(f"an ack was interrupted: {exc!r}")
                    if not isinstance(exc, BrokerUnavailable):
                        raise

    async def _each(self, step: "_Step") -> None:
        for subscription in self._subscriptions.values():
            if subscription.session.lost.is_set():
                continue
            try:
                with faults():
                    async with asyncio.timeout(CALL_S):
                        await step(subscription)
            except BrokerUnavailable as exc:
                subscription.session.fail(str(exc))


class _Step(Protocol):
    async def __call__(self, subscription: _Subscription, /) -> object: ...


async def _settle(subscription: _Subscription, tags: list[int], *, release: bool) -> None:
    channel = subscription.channel
    upto, singles = settle_plan(subscription.unsettled, tags)
    for tag, multiple in ((upto, True), *((single, False) for single in singles)):
        if tag is None:
            continue
        if release:
            await channel.basic_nack(tag, multiple=multiple, requeue=True, wait=False)
        else:
            await channel.basic_ack(tag, multiple=multiple, wait=False)
