"""Consuming from RabbitMQ: a channel, and so a row of delivery tags, per lane."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import aiormq
from aiormq.abc import DeliveredMessage

from distriqueue.broker.buffer import LaneBuffers
from distriqueue.broker.held import Held
from distriqueue.broker.packs import unpack
from distriqueue.broker.rabbitmq_frames import as_one_write, settle_frames, settle_plan
from distriqueue.broker.rabbitmq_session import CALL_S, Session, faults
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import DISPATCH_PACK, UnreadableDispatch
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
    credit: int
    """How many messages RabbitMQ may leave with us, to make about the prefetch in dispatches."""
    told_credit: int = 0
    """What the channel was told last."""
    is_changing: bool = False
    consumer_tag: str = ""
    """New at every subscribing: see `_subscribe`."""
    held: Held = field(default_factory=Held)
    """By delivery tags."""


class RabbitMQConsumer:
    """`core.ports.Consumer`; the broker attaches it to each new session."""

    def __init__(self, owner: _Owner, lanes: Sequence[Priority], *, prefetch: int, consumer_id: str) -> None:
        self._owner = owner
        self._lanes = tuple(lanes)
        self._prefetch = prefetch
        self._least_credit = max(1, prefetch // DISPATCH_PACK)
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
        """Return how many messages of the lane we hold, at hand or taken."""
        subscription = self._subscriptions.get(lane)
        return len(subscription.held) if subscription else 0

    async def attach(self, session: Session) -> None:
        """Subscribe in this session, from nothing; BrokerUnavailable when that fails."""
        async with self._turn:
            if self._closed or session.number in {s.session.number for s in self._subscriptions.values()}:
                return
            self.detach()
            with faults():
                async with asyncio.timeout(CALL_S):
                    for lane in self._lanes:
                        subscription = _Subscription(lane, session, await session.channel(), self._least_credit)
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
            self._paused = True  # a resume may have come first
            # Cancel first: what is given back while we consume comes to us again.
            await self._each(_cancel)
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
        channel = subscription.channel
        if subscription.told_credit != subscription.credit:
            await channel.basic_qos(prefetch_count=subscription.credit, timeout=CALL_S)
            subscription.told_credit = subscription.credit
        await channel.basic_consume(
            subscription.lane.queue, on_message, consumer_tag=subscription.consumer_tag, timeout=CALL_S
        )

    async def _weigh(self, subscription: _Subscription) -> None:
        """Change the credit when it makes far fewer dispatches than the prefetch, or far more; then give some back."""
        held, credit = subscription.held, subscription.credit
        fitting = max(1, self._prefetch * len(held) // max(held.jobs, 1))  # if they go on as large as those we hold
        if held.jobs > 2 * self._prefetch:
            credit = min(credit, fitting)
        elif len(held) >= credit and held.jobs <= self._prefetch // 2:
            credit = max(credit, min(2 * credit, fitting, self._prefetch))
        if credit == subscription.credit or subscription.is_changing:
            return
        subscription.is_changing = True
        async with self._turn:
            subscription.is_changing = False
            subscription.credit = credit
            if self._paused or self._subscriptions.get(subscription.lane) is not subscription:
                return
            # A channel's credit is that of its next consumer. What we hold by the old one is not counted against it.
            await self._do(subscription, _cancel)
            surplus = self._buffers.surplus(subscription.lane, held.jobs - self._prefetch)
            await self._settle_one(subscription, surplus, release=True)
            await self._do(subscription, self._subscribe)

    async def _on_message(self, subscription: _Subscription, message: DeliveredMessage) -> None:
        tag = message.delivery_tag
        if tag is None or self._subscriptions.get(subscription.lane) is not subscription:
            return
        try:
            dispatches = unpack(message.body)
        except UnreadableDispatch as exc:
            log.warning(
                "dispatch_unreadable", lane=subscription.lane.value, size_bytes=len(message.body), error=str(exc)
            )
            subscription.held.add(tag, 1)
            await self._bury(subscription, tag)
            return
        subscription.held.add(tag, len(dispatches))
        for part, dispatch in enumerate(dispatches):
            self._buffers.put(Delivery(dispatch, subscription.lane, tag, subscription.session.number, part))
        await self._weigh(subscription)

    async def _bury(self, subscription: _Subscription, tag: int) -> None:
        """Reject without requeue: the queue sends it to the dead-letter queue."""
        try:
            with faults():
                async with self._turn, asyncio.timeout(CALL_S):
                    subscription.held.forget((tag,))
                    await subscription.channel.basic_reject(tag, requeue=False, wait=False)
        except BrokerUnavailable as exc:
            subscription.session.fail(str(exc))

    async def _settle(self, deliveries: Sequence[Delivery], *, release: bool) -> None:
        async with self._turn:
            for subscription in self._subscriptions.values():
                await self._settle_one(subscription, deliveries, release=release)

    async def _settle_one(self, subscription: _Subscription, deliveries: Sequence[Delivery], *, release: bool) -> None:
        """Settle those of the deliveries that came by this subscription's channel; the turn is ours."""
        lane, session = subscription.lane, subscription.session
        mine = [each for each in deliveries if each.lane is lane and each.session == session.number]
        if not mine or session.lost.is_set():
            return
        try:
            with faults():
                async with asyncio.timeout(CALL_S):
                    await _settle(subscription, mine, release=release)
        except BaseException as exc:
            # Half told: only a new session is sure to have all of it delivered again.
            session.fail(f"an ack was interrupted: {exc!r}")
            if not isinstance(exc, BrokerUnavailable):
                raise

    async def _each(self, step: "_Step") -> None:
        for subscription in self._subscriptions.values():
            await self._do(subscription, step)

    async def _do(self, subscription: _Subscription, step: "_Step") -> None:
        session = subscription.session
        if session.lost.is_set():
            return
        try:
            with faults():
                async with asyncio.timeout(CALL_S):
                    await step(subscription)
        except BrokerUnavailable as exc:
            session.fail(str(exc))


class _Step(Protocol):
    async def __call__(self, subscription: _Subscription, /) -> object: ...


async def _cancel(subscription: _Subscription) -> None:
    await subscription.channel.basic_cancel(subscription.consumer_tag)


async def _settle(subscription: _Subscription, deliveries: Sequence[Delivery], *, release: bool) -> None:
    channel, held = subscription.channel, subscription.held
    acked, released = held.decide(deliveries, release=release)
    frames = settle_frames(channel.number, *settle_plan(held.undecided, acked), requeue=False)
    frames += settle_frames(channel.number, *settle_plan(held.undecided, released), requeue=True)
    if channel.is_closed:
        raise BrokerUnavailable("the channel is closed")
    if frames:
        await channel.write_queue.put(as_one_write(frames))
