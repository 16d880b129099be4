"""The dispatch queues: `core.ports.Broker` on RabbitMQ and on Postgres.

    async with broker.connect(url, publish_timeout_s=5.0) as b:
        held = await b.publish([dispatch])

Both adapters have the same shape. A supervisor opens a session, watches it, and at its first fault replaces the whole
of it: connect, declare, subscribe again. A session is never mended, so there is one way back from every fault, and it
is the way that start takes too. Deliveries of an older session are dropped from the buffers, because the broker
delivers them again. `tests/contract/test_broker.py` is the suite for both; ADR 0003 says why it is built so.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from typing import Final, Protocol
from urllib.parse import urlsplit

from distriqueue.core.errors import BadSetting
from distriqueue.core.messages import DISPATCH_PACK
from distriqueue.core.ports import Broker

_ADAPTERS: Final = {
    "amqp": "distriqueue.broker.rabbitmq",
    "amqps": "distriqueue.broker.rabbitmq",
    "postgres": "distriqueue.broker.postgres",
    "postgresql": "distriqueue.broker.postgres",
}


class _Adapter(Broker, Protocol):
    async def run(self) -> None: ...


@contextlib.asynccontextmanager
async def connect(url: str, *, publish_timeout_s: float, dispatch_pack: int = DISPATCH_PACK) -> AsyncIterator[Broker]:
    """Yield the broker of the URL at once, connecting behind it for as long as it takes; close it at the end.

    It sends at most `dispatch_pack` jobs in one message, and reads messages of any number.
    A broker that is down, or refuses us, is logged and tried again; BadSetting for a URL that no adapter takes.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _ADAPTERS:
        raise BadSetting(f"DISTRIQUEUE_BROKER_URL: {scheme or 'no'} scheme; one of {', '.join(_ADAPTERS)} is needed")
    adapter_module = importlib.import_module(_ADAPTERS[scheme])
    async with asyncio.TaskGroup() as group:
        adapter: _Adapter = adapter_module.make(
            url, publish_timeout_s=publish_timeout_s, dispatch_pack=dispatch_pack, group=group
        )
        group.create_task(adapter.run(), name="broker")
        try:
            yield adapter
        finally:
            await adapter.close()


__all__ = ["connect"]
