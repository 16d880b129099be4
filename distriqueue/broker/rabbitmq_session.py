"""One connection to RabbitMQ, from its opening to its first fault; never mended, only replaced."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import aio_pika
import aiormq
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ProbableAuthenticationError
from pamqp.exceptions import PAMQPException
from yarl import URL

from distriqueue.broker import topology
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.telemetry import get_logger

log = get_logger("broker")

CONNECT_S: Final = 10.0
CALL_S: Final = 5.0
CLOSE_S: Final = 2.0
"""Bounds of a connect, a call, and a polite goodbye."""
HEARTBEAT_S: Final = 6
"""The client gives up after 3 × (HEARTBEAT_S + 1) seconds of silence, the server after 2 × HEARTBEAT_S."""


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turn what the client library raises into BrokerUnavailable.

    That includes a CancelledError that nobody asked for: the library throws one into whoever waits on a connection
    that it gives up, and a supervisor that believed it would end without a word.
    """
    try:
        yield
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable("the connection was given up") from exc
    except ProbableAuthenticationError as exc:
        raise BrokerUnavailable(f"RabbitMQ refuses the credentials or the vhost: {exc}") from exc
    except (AMQPError, PAMQPException, ChannelInvalidStateError, OSError) as exc:
        raise BrokerUnavailable(f"{type(exc).__name__}: {exc}") from exc


class Session:
    """A connection with the topology declared. `lost` is set by the first fault, whoever sees it."""

    def __init__(self, number: int, connection: aio_pika.abc.AbstractConnection) -> None:
        self.number = number
        self.lost = asyncio.Event()
        self.reason = ""
        self._connection = connection
        self._channels: set[aiormq.Channel] = set()
        self._control: aiormq.Channel | None = None

    @classmethod
    async def open(cls, url: str, number: int) -> "Session":
        """Connect and declare the topology; BrokerUnavailable says why it cannot be."""
        address = URL(url)
        if "heartbeat" not in address.query:
            address = address.update_query(heartbeat=HEARTBEAT_S)
        # Not aio_pika.connect: what that leaves unclosed when it fails is closed by the garbage collector, in whatever
        # thread, with a warning on stderr.
        connection = aio_pika.Connection(address, client_properties={"connection_name": "distriqueue"})
        session = cls(number, connection)
        try:
            with faults():
                await connection.connect(timeout=CONNECT_S)
                async with asyncio.timeout(CONNECT_S):
                    await session._declare()
        except BaseException:
            await session.close()
            raise
        return session

    async def channel(self) -> aiormq.Channel:
        """Open a channel whose end, or whose consumer's, is the end of the session."""
        opened = await self._connection.channel(on_return_raises=True)
        channel: object = await opened.get_underlay_channel()
        if not isinstance(channel, aiormq.Channel):
            raise TypeError(f"the client library made a {type(channel).__name__}")
        self._channels.add(channel)
        channel.on_consumer_cancel_callbacks.add(self._on_consumer_cancelled)
        channel.closing.add_done_callback(lambda _: self._on_channel_closed(channel))
        return channel

    async def close_channel(self, channel: aiormq.Channel) -> None:
        """Close a channel on purpose; what it left unsettled goes back to its queue."""
        self._channels.discard(channel)
        with faults():
            async with asyncio.timeout(CLOSE_S):
                await channel.close()

    @property
    def control(self) -> aiormq.Channel:
        """The channel of declarations, depths and purges."""
        if self._control is None:
            raise BrokerUnavailable("the session is not open")
        return self._control

    def fail(self, reason: str) -> None:
        """Say that the session is no good any more; the first reason is kept."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()

    def inspect(self) -> None:
        """Fail the session when its connection or a channel is closed, however quietly."""
        transport = self._connection.transport
        if transport is None or transport.connection.is_closed:
            self.fail("the connection is closed")
        elif any(channel.is_closed for channel in self._channels):
            self.fail("a channel is closed")

    async def close(self) -> None:
        """Close the connection, and all channels with it."""
        self.fail("closed by us")
        self._channels.clear()
        try:
            with faults():
                async with asyncio.timeout(CLOSE_S):
                    await self._connection.close()
        except BrokerUnavailable as exc:
            log.debug("broker_connection_close", error=str(exc))

    async def _declare(self) -> None:
        control = self._control = await self.channel()
        await control.exchange_declare(topology.EXCHANGE, exchange_type="direct", durable=True)
        await control.queue_declare(topology.DEAD_QUEUE, durable=True, arguments=dict(topology.DEAD_ARGUMENTS))
        for lane in topology.LANES:
            await control.queue_declare(lane.queue, durable=True, arguments=dict(topology.LANE_ARGUMENTS))
            await control.queue_bind(lane.queue, topology.EXCHANGE, routing_key=lane.queue)

    def _on_channel_closed(self, channel: aiormq.Channel) -> None:
        if channel in self._channels:
            self.fail("a channel or the connection was closed")

    def _on_consumer_cancelled(self, frame: Any) -> None:
        self.fail(f"the broker cancelled consumer {frame.consumer_tag}")
