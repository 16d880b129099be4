"""AMQP 0-9-1 frames of the hot calls, written by hand (specification §4.2.3 to §4.2.6).

A publish by the client library costs a task, five futures and three marshalled frames. Here it is a few `struct`
calls, and a batch of publishes or acks is one write.
"""

import struct
from collections.abc import Collection
from typing import Any, Final

from aiormq.abc import ChannelFrame
from pamqp import commands
from pamqp.frame import marshal

_FRAME: Final = struct.Struct(">BHI")
_HEADER: Final = struct.Struct(">HHQH")
_METHOD, _CONTENT_HEADER, _BODY = 1, 2, 3
_BASIC: Final = 60
_ACK, _NACK = 80, 120
_SETTLE: Final = struct.Struct(">BHIHHQBs")
_SETTLE_BYTES: Final = 13
"""Of an ack's or nack's arguments: class, method, delivery tag and bits."""
_MULTIPLE, _REQUEUE = 1, 2
_END: Final = b"\xce"

# Property flags, in the order of their values: content-type, delivery-mode, message-id.
_FLAGS: Final = 1 << 15 | 1 << 12 | 1 << 7
_CONTENT_TYPE: Final = b"\x10application/json"
_PERSISTENT: Final = b"\x02"


class PublishWriter:
    """Writes persistent, mandatory publishes to one exchange, on one channel."""

    def __init__(self, *, channel_number: int, exchange: str, max_body_bytes: int) -> None:
        self._channel = channel_number
        self._exchange = exchange
        self._max_body_bytes = max_body_bytes
        self._methods: dict[str, bytes] = {}

    def frames(self, routing_key: str, body: bytes, *, message_id: str) -> list[bytes]:
        """Return the publish as bytes to be joined."""
        method = self._methods.get(routing_key)
        if method is None:
            publish = commands.Basic.Publish(exchange=self._exchange, routing_key=routing_key, mandatory=True)
            method = self._methods[routing_key] = marshal(publish, self._channel)
        name = message_id.encode()
        header = b"".join(
            (
                _HEADER.pack(_BASIC, 0, len(body), _FLAGS),
                _CONTENT_TYPE,
                _PERSISTENT,
                bytes((len(name),)),
                name,
            )
        )
        parts = [method, _FRAME.pack(_CONTENT_HEADER, self._channel, len(header)), header, _END]
        for start in range(0, len(body), self._max_body_bytes):
            piece = body[start : start + self._max_body_bytes]
            parts += (_FRAME.pack(_BODY, self._channel, len(piece)), piece, _END)
        return parts


def as_one_write(parts: Collection[bytes]) -> ChannelFrame:
    """Return the bytes as one item of a connection's write queue."""
    return ChannelFrame(payload=b"".join(parts), should_close=False)


def settle_frames(channel_number: int, upto: int | None, singles: Collection[int], *, requeue: bool) -> list[bytes]:
    """Return the frames that say a settle plan: acks, or nacks that put back."""
    method, bits = (_NACK, _REQUEUE) if requeue else (_ACK, 0)
    plan = [(tag, bits) for tag in singles]
    if upto is not None:
        plan.insert(0, (upto, bits | _MULTIPLE))
    return [_SETTLE.pack(_METHOD, channel_number, _SETTLE_BYTES, _BASIC, method, *each, _END) for each in plan]


def settle_plan(unsettled: dict[int, Any], tags: Collection[int]) -> tuple[int | None, list[int]]:
    """Take the tags out of `unsettled` (oldest first), and return how to tell the broker in the fewest frames.

    The first answer settles everything up to and including it (`multiple`), because all of that is in `tags`; the
    others go one by one. Tags that are not unsettled any more are left out: settling twice closes the channel.
    """
    wanted = unsettled.keys() & set(tags)
    upto = None
    for tag in unsettled:
        if tag not in wanted:
            break
        upto = tag
    singles = sorted(tag for tag in wanted if upto is None or tag > upto)
    for tag in wanted:
        del unsettled[tag]
    return upto, singles
