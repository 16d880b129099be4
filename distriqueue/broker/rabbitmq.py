"""The broker on RabbitMQ, 3.10 to 4.x, by quorum queues."""

import asyncio
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final

from distriqueue.broker import topology
from distriqueue.broker.packs import pack
from distriqueue.broker.rabbitmq_consumer import RabbitMQConsumer
from distriqueue.broker.rabbitmq_publisher import Publisher
from distriqueue.broker.rabbitmq_session import CALL_S, Session, faults
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import LaneDepth
from distriqueue.core.retry import backoff_s
from distriqueue.lifecycle import wait_for
from distriqueue.telemetry import get_logger

log = get_logger("broker")
_rng = random.SystemRandom()

WATCH_S: Final = 1.0
STEADY_S: Final = 5.0
"""A session that lived this long was good: the backoff begins anew after it."""


def make(
    url: str,
    *,
    publish_timeout_s: float,
    dispatch_pack: int,
    group: asyncio.TaskGroup,  # noqa: ARG001 - one signature for all adapters
) -> "RabbitMQBroker":
    """Return the broker of the URL, not yet connected: `run` does that."""
    return RabbitMQBroker(url, publish_timeout_s=publish_timeout_s, dispatch_pack=dispatch_pack)


class RabbitMQBroker:
    """`core.ports.Broker`. `run` is its supervisor: open a session, watch it, replace it."""

    def __init__(self, url: str, *, publish_timeout_s: float, dispatch_pack: int) -> None:
        self._url = url
        self._publish_timeout_s = publish_timeout_s
        self._dispatch_pack = dispatch_pack
        self._numbers = itertools.count(1)
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._consumers: list[RabbitMQConsumer] = []
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the connection is up at this moment."""
        return self._session is not None and not self._session.lost.is_set()

    async def publish(self, dispatches: Sequence[Dispatch]) -> list[bool]:
        """Send all, confirms in flight; False for what RabbitMQ is not known to hold."""
        if self._publisher is None or not self.connected:
            return [False] * len(dispatches)
        packs = pack(dispatches, most=self._dispatch_pack)
        held = [False] * len(dispatches)
        for place in await self._publisher.publish(packs, timeout_s=self._publish_timeout_s):
            held[place] = True
        return held

    async def consume(self, lanes: Sequence[Priority], *, prefetch: int, consumer_id: str) -> RabbitMQConsumer:
        """Subscribe to the lanes; when RabbitMQ is down, as soon as it is back."""
        consumer = RabbitMQConsumer(self, lanes, prefetch=prefetch, consumer_id=consumer_id)
        self._consumers.append(consumer)
        session = self._session
        if session is not None:
            try:
                await consumer.attach(session)
            except BrokerUnavailable as exc:
                session.fail(str(exc))
        return consumer

    def forget(self, consumer: RabbitMQConsumer) -> None:
        """Subscribe this one no more."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    async def depths(self) -> Mapping[Priority, LaneDepth]:
        """Return each lane's depth in messages. AMQP does not tell what others hold: `unacked` is what ours do.

        A consumer that changed its credit counts twice until what it held before is settled.
        """
        session = self._up()
        found = {}
        with faults():
            async with asyncio.timeout(CALL_S):
                for lane in topology.LANES:
                    answer = await session.control.queue_declare(
                        lane.queue, durable=True, arguments=dict(topology.LANE_ARGUMENTS)
                    )
                    found[lane] = LaneDepth(
                        ready=answer.message_count or 0,
                        unacked=sum(consumer.unacked(lane) for consumer in self._consumers),
                        consumers=answer.consumer_count or 0,
                    )
        return found

    async def purge(self) -> None:
        """Drop every dispatch that waits in a lane."""
        session = self._up()
        with faults():
            async with asyncio.timeout(CALL_S):
                for lane in topology.LANES:
                    await session.control.queue_purge(lane.queue)

    async def close(self) -> None:
        """Close the consumers and the connection."""
        for consumer in tuple(self._consumers):
            await consumer.close()
        self._stop.set()
        await wait_for(self._ended, CALL_S)

    async def run(self) -> None:
        """Keep a session until closed."""
        failures = 0
        try:
            while not self._stop.is_set():
                began_s = time.monotonic()
                try:
                    await self._one_session()
                except BrokerUnavailable as exc:
                    failures = 1 if time.monotonic() - began_s > STEADY_S else failures + 1
                    pause_s = backoff_s(failures, _rng, cap_s=topology.RECONNECT_CAP_S)
                    log.warning("broker_unavailable", error=str(exc), failures=failures, retry_in_s=round(pause_s, 3))
                    await wait_for(self._stop, pause_s)
        finally:
            self._ended.set()

    async def _one_session(self) -> None:
        """Live one session from its opening to its end; BrokerUnavailable unless we ended it."""
        session = await Session.open(self._url, next(self._numbers))
        publisher: Publisher | None = None
        try:
            with faults():
                publisher = Publisher(session, await session.channel())
            self._session, self._publisher = session, publisher
            for consumer in tuple(self._consumers):
                await consumer.attach(session)
            log.info("broker_connected", session=session.number)
            await self._watch(session)
        finally:
            self._session = self._publisher = None
            session.fail("closed by us")
            if publisher is not None:
                publisher.abandon()
            for consumer in self._consumers:
                consumer.detach()
            await session.close()

    async def _watch(self, session: Session) -> None:
        async with asyncio.TaskGroup() as group:
            watchdog = group.create_task(self._inspect(session))
            stopped = group.create_task(self._stop.wait())
            lost = group.create_task(session.lost.wait())
            await asyncio.wait((stopped, lost), return_when=asyncio.FIRST_COMPLETED)
            for task in (watchdog, stopped, lost):
                task.cancel()
        if not self._stop.is_set():
            raise BrokerUnavailable(session.reason)

    async def _inspect(self, session: Session) -> None:
        while not session.lost.is_set():
            session.inspect()
            for consumer in self._consumers:
                consumer.inspect(session)
            await wait_for(session.lost, WATCH_S)

    def _up(self) -> Session:
        if self._session is None or self._session.lost.is_set():
            raise BrokerUnavailable("RabbitMQ is not connected")
        return self._session
