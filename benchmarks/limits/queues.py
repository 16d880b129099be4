"""`python -m benchmarks.limits.queues CLIENT JOBS URL`: publish with confirms, then consume with acks.

A quorum queue, persistent messages of the size of our dispatches. CLIENT is `aio-pika`, which gathers 500 publishes at
a time and acknowledges each message, or `ours`, the adapter of `distriqueue.broker`.
"""

import asyncio
import json
import sys
import time
from typing import Final

import aio_pika
import uvloop

from distriqueue import broker
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch

GATHERED: Final = 500
PREFETCH: Final = 500
TIMEOUT_S: Final = 300.0
QUEUE: Final = "limit"


def _dispatch() -> Dispatch:
    return Dispatch(new_job_id(), 1, "add", Priority.MEDIUM, {"a": 1, "b": 1}, 300.0)


async def aio_pika_client(url: str, jobs: int) -> dict[str, float]:
    """Measure the library as its documentation uses it, but for the gathering."""
    body = _dispatch().encode()
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        started = time.monotonic()
        for first in range(0, jobs, GATHERED):
            some = range(first, min(first + GATHERED, jobs))
            await asyncio.gather(*(channel.default_exchange.publish(message, QUEUE) for _ in some))
        published_s = time.monotonic() - started
        seen, over = 0, asyncio.Event()

        async def take(delivery: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal seen
            await delivery.ack()
            seen += 1
            if seen == jobs:
                over.set()

        started = time.monotonic()
        await queue.consume(take)
        await over.wait()
        return {"publish": jobs / published_s, "consume": jobs / (time.monotonic() - started)}


async def our_client(url: str, jobs: int) -> dict[str, float]:
    """Measure our adapter: a batch is one write, acknowledgements are of several."""
    dispatches = [_dispatch() for _ in range(jobs)]
    async with broker.connect(url, publish_timeout_s=TIMEOUT_S) as ours:
        while not ours.connected:  # noqa: ASYNC110 -- before the clock starts; the port has no signal for it
            await asyncio.sleep(0.01)
        started = time.monotonic()
        assert all(await ours.publish(dispatches))
        published_s = time.monotonic() - started
        started = time.monotonic()
        consumer = await ours.consume([Priority.MEDIUM], prefetch=PREFETCH, consumer_id="limit")
        seen = 0
        while seen < jobs and await consumer.wait(TIMEOUT_S):
            taken = []
            while (delivery := consumer.take(Priority.MEDIUM)) is not None:
                taken.append(delivery)
            await consumer.ack(taken)
            seen += len(taken)
        return {"publish": jobs / published_s, "consume": jobs / (time.monotonic() - started)}


async def main() -> None:
    """Run from the command line."""
    client, jobs, url = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    async with asyncio.timeout(TIMEOUT_S):
        measured = await (our_client if client == "ours" else aio_pika_client)(url, jobs)
    print(f"\n{json.dumps(measured)}")  # on a line of its own, after what the adapter logs


if __name__ == "__main__":
    uvloop.run(main())
