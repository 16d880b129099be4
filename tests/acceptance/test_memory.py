"""The gateway's memory under load with twenty followers, one of which never reads a byte."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest

from tests.acceptance.client import events, submit
from tests.acceptance.stack import Ground, Platform
from tests.acceptance.test_exactly_once import mixed

pytestmark = pytest.mark.stack

READERS: Final = 19
WARM_UP: Final = 2000


async def test_memory_stays_flat(ground: Ground) -> None:
    await _load(ground, 8_000, growth_mb=15.0, until_dropped=False)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_memory_stays_flat_for_long(ground: Ground) -> None:
    await _load(ground, 50_000, growth_mb=50.0, until_dropped=True)


async def _load(ground: Ground, jobs: int, *, growth_mb: float, until_dropped: bool) -> None:
    async with ground.platform(workers=2, capacity=20) as platform:
        with _deaf_follower(platform.url) as deaf:
            async with _readers(platform.url) as read:
                # Pools, buffers and the ring fill once; what grows after that would go on growing.
                await _run(platform, WARM_UP)
                samples = [_resident_mb(platform)]
                for _ in range(10):
                    await _run(platform, jobs // 10)
                    samples.append(_resident_mb(platform))
                stored = (await platform.sql("SELECT count(*) FROM events"))[0]["count"]
                await platform.until(lambda: min(read) >= stored, "the readers to have all", timeout_s=30)
            if until_dropped:
                await platform.until(lambda: not _is_served(platform, deaf), "the deaf one's end", timeout_s=30)
        print(
            f"{jobs} jobs, {stored} events to {READERS} readers; resident MB: {' '.join(f'{s:.0f}' for s in samples)}"
        )
        assert max(samples) - samples[0] < growth_mb
        assert await platform.statuses() == {"completed": WARM_UP + jobs}


async def _run(platform: Platform, jobs: int) -> None:
    began_at = time.monotonic()
    replies = await submit(platform.urls, mixed(jobs))
    assert {reply.status for reply in replies} == {202}
    await platform.until_over(timeout_s=90)
    print(f"{jobs / (time.monotonic() - began_at):.0f} jobs/s")


def _resident_mb(platform: Platform) -> float:
    return float(psutil.Process(platform.gateways[0].pid).memory_info().rss) / 1_000_000


def _is_served(platform: Platform, client: socket.socket) -> bool:
    """Tell whether the gateway still holds its end of a client's connection."""
    here = client.getsockname()
    return any(each.raddr == here for each in psutil.Process(platform.gateways[0].pid).net_connections("tcp"))


@asynccontextmanager
async def _readers(url: str) -> AsyncIterator[list[int]]:
    """Follow with several clients; yield how many events each has got so far."""
    read = [0] * READERS
    connected = [asyncio.Event() for _ in range(READERS)]

    async def follow(number: int) -> None:
        async with events(url) as stream:
            connected[number].set()
            while chunk := await stream.chunk():
                read[number] += chunk.count(b"event: job-update")

    async with asyncio.TaskGroup() as group:
        following = [group.create_task(follow(number)) for number in range(READERS)]
        async with asyncio.timeout(20):
            for each in connected:
                await each.wait()
        yield read
        for task in following:
            task.cancel()


def _deaf_follower(url: str) -> socket.socket:
    """Ask for the stream and never read, with as little room for it in the kernel as there can be."""
    parts = urlsplit(url)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    deaf.settimeout(10)
    deaf.connect((parts.hostname, parts.port))
    deaf.sendall(f"GET /api/jobs/stream HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    return deaf
