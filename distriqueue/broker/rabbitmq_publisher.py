"""Publishing with confirms in flight."""

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

import aiormq

from distriqueue.broker import topology
from distriqueue.broker.packs import Pack
from distriqueue.broker.rabbitmq_frames import PublishWriter, as_one_write
from distriqueue.broker.rabbitmq_session import Session, faults
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.telemetry import get_logger

log = get_logger("broker")

WINDOW: Final = 1000
"""Most publishes that wait for their confirm."""
WRITE_MESSAGES: Final = 200
WRITE_BYTES: Final = 262_144
"""Bounds of one write: a lane's neighbours wait no longer than this."""

Confirm = asyncio.Future[Any]


class Publisher:
    """The one publishing channel of a session.

    It takes the numbering of the publishes over from aiormq's channel, and leaves the reading of confirms and returns
    to it: each is a future in the channel's own `confirmations`.
    """

    def __init__(self, session: Session, channel: aiormq.Channel) -> None:
        self._session = session
        self._channel = channel
        self._writer = PublishWriter(
            channel_number=channel.number, exchange=topology.EXCHANGE, max_body_bytes=channel.max_content_size
        )
        self._turn = asyncio.Lock()
        self._unconfirmed: set[Confirm] = set()
        self._room = asyncio.Event()

    async def publish(self, packs: Iterable[Pack], *, timeout_s: float) -> list[int]:
        """Send all and wait for the confirms.

        Return the places of what is confirmed: not of what is returned, refused, or unconfirmed in time.
        """
        confirms: list[tuple[Pack, Confirm]] = []
        try:
            with faults():
                async with asyncio.timeout(timeout_s):
                    await self._send(packs, confirms)
                    if confirms:
                        await asyncio.wait([confirm for _, confirm in confirms])
        except BrokerUnavailable as exc:
            log.warning("broker_publish_unconfirmed", messages=len(confirms), error=str(exc))
        return [place for sent, confirm in confirms if _is_confirmed(confirm) for place in sent.places]

    def abandon(self) -> None:
        """The session is lost: nothing more will be confirmed."""
        for confirm in tuple(self._unconfirmed):
            confirm.cancel()
        self._room.set()

    async def _send(self, packs: Iterable[Pack], confirms: list[tuple[Pack, Confirm]]) -> None:
        # One writer at a time: the broker numbers publishes in the order in which it reads them.
        async with self._turn:
            for write in _writes(packs):
                while len(self._unconfirmed) + len(write) > WINDOW:
                    self._room.clear()
                    await self._room.wait()
                if self._session.lost.is_set():
                    raise BrokerUnavailable(self._session.reason)
                await self._write(write, confirms)

    async def _write(self, write: list[Pack], confirms: list[tuple[Pack, Confirm]]) -> None:
        loop = asyncio.get_running_loop()
        parts: list[bytes] = []
        for one in write:
            self._channel.delivery_tag += 1
            message_id = str(self._channel.delivery_tag)
            confirm = self._channel.confirmations[self._channel.delivery_tag] = loop.create_future()
            self._channel.message_id_delivery_tag[message_id] = self._channel.delivery_tag
            self._unconfirmed.add(confirm)
            confirm.add_done_callback(partial(self._settled, message_id))
            confirms.append((one, confirm))
            parts += self._writer.frames(one.lane.queue, one.body, message_id=message_id)
        try:
            await self._channel.write_queue.put(as_one_write(parts))
        except BaseException:
            # Numbered and not written: from here on every confirm would be for the wrong publish.
            self._session.fail("a publish was interrupted while it was written")
            raise

    def _settled(self, message_id: str, confirm: Confirm) -> None:
        self._unconfirmed.discard(confirm)
        self._channel.message_id_delivery_tag.pop(message_id, None)
        self._room.set()
        if confirm.cancelled():
            return
        error = confirm.exception()
        if isinstance(error, aiormq.exceptions.PublishError):
            # Unroutable: a queue or its binding is gone. Declaring is what a new session begins with.
            self._session.fail("a publish was returned as unroutable")


def _is_confirmed(confirm: Confirm) -> bool:
    return confirm.done() and not confirm.cancelled() and confirm.exception() is None


def _writes(packs: Iterable[Pack]) -> Iterator[list[Pack]]:
    write: list[Pack] = []
    size_bytes = 0
    for one in packs:
        write.append(one)
        size_bytes += one.size_bytes
        if len(write) >= WRITE_MESSAGES or size_bytes >= WRITE_BYTES:
            yield write
            write, size_bytes = [], 0
    if write:
        yield write
