"""Many clients of the event stream in a process of their own, over bare sockets.

    async with following(url, "/api/jobs/stream?type=tick", clients=1000) as followers:
        await followers.reset()
        ...
        figures = await followers.figures()

What a client received is counted by its event lines, one search over the bytes as they came; nothing is parsed but the
times of the oldest and the newest event of each piece. The events of a piece are taken to be evenly spread between.
"""

import argparse
import asyncio
import json
import re
import resource
import select
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.servers.process import private_env

ROOT: Final = Path(__file__).parents[2]
CONNECT_S: Final = 60.0
SAY_S: Final = 10.0
PIECE: Final = 1 << 18
EVENT: Final = b"event: job-update"
CONNECTED: Final = b"event: connected"
STAMP: Final = b'"timestamp":"'
STAMP_END: Final = len(STAMP) + len("2026-01-01T00:00:00.000000Z")
WHOLE_STAMP: Final = re.compile(rb'"timestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z"')
BIN_MS: Final = 1
LATEST_MS: Final = 60_000
SPARE_FILES: Final = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """What all clients together saw in a span of time."""

    events: int
    """Deliveries: an event that all of a thousand clients get counts a thousand times."""
    fewest: int
    """Of one client."""
    took_s: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    """From an event's own time, written in the transaction that it tells of, to its arrival in the client's process."""
    cpu_s: float
    """Of the clients' process."""
    ended: int
    """Streams that were cut off."""


class Latencies:
    """A histogram that takes a whole piece at once, in constant time."""

    def __init__(self) -> None:
        self._steps = [0.0] * (LATEST_MS // BIN_MS + 2)
        self.total = 0

    def add(self, events: int, oldest_ms: float, newest_ms: float) -> None:
        """Count events that are evenly spread between two latencies."""
        low, high = self._bin(min(oldest_ms, newest_ms)), self._bin(max(oldest_ms, newest_ms))
        share = events / (high - low + 1)
        self._steps[low] += share
        self._steps[high + 1] -= share
        self.total += events

    def percentile(self, part: float) -> float:
        """Return the upper edge of the bin, in ms, that so many of all events are not above; 0 without any."""
        left, height = part * self.total, 0.0
        for number, step in enumerate(self._steps):
            height += step
            left -= height
            if left <= 1e-6 * self.total:
                return float((number + 1) * BIN_MS) if self.total else 0.0
        return float(LATEST_MS)

    @staticmethod
    def _bin(ms: float) -> int:
        return min(max(int(ms / BIN_MS), 0), LATEST_MS // BIN_MS)


class Clients:
    """The sockets, and what came by them."""

    def __init__(self, url: str, path: str, count: int) -> None:
        self._parts = urlsplit(url)
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        self._poll = select.epoll()
        self._buffer = bytearray(PIECE)
        self._sockets = {each.fileno(): each for each in (self._open() for _ in range(count))}
        self._welcomed: set[int] = set()
        self._ended = 0
        self.reset()

    def reset(self) -> None:
        """Count from now on."""
        self._counts = dict.fromkeys(self._sockets, 0)
        self._latencies = Latencies()
        self._most_ms = 0.0
        self._since = time.monotonic()
        self._cpu_s = time.process_time()

    @property
    def is_welcome(self) -> bool:
        """Whether every client has got its `connected`."""
        return len(self._welcomed) == len(self._sockets)

    def read(self, timeout_s: float) -> bool:
        """Take what there is, once from each socket; tell whether stdin has something to say."""
        asked = False
        for number, _ in self._poll.poll(timeout_s):
            if number == sys.stdin.fileno():
                asked = True
            else:
                self._take(number)
        return asked

    def listen_to(self, number: int) -> None:
        """Let `read` tell of another file, too."""
        self._poll.register(number, select.EPOLLIN)

    def figures(self) -> Figures:
        """Return what was seen since `reset`."""
        return Figures(
            sum(self._counts.values()),
            min(self._counts.values()),
            time.monotonic() - self._since,
            self._latencies.percentile(0.5),
            self._latencies.percentile(0.99),
            self._most_ms,
            time.process_time() - self._cpu_s,
            self._ended,
        )

    def _open(self) -> socket.socket:
        client = socket.create_connection((self._parts.hostname or "", self._parts.port or 80), timeout=CONNECT_S)
        client.sendall(self._request)
        client.setblocking(False)
        self._poll.register(client, select.EPOLLIN)
        return client

    def _take(self, number: int) -> None:
        try:
            size = self._sockets[number].recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size == 0:
            self._poll.unregister(number)
            self._ended += 1
            return
        now = time.time()
        if number not in self._welcomed and self._buffer.find(CONNECTED, 0, size) >= 0:
            self._welcomed.add(number)
        events = self._buffer.count(EVENT, 0, size)
        if not events:
            return
        self._counts[number] += events
        oldest_s = self._time(self._buffer.find(STAMP, 0, size), now)
        # The last one may be cut off.
        newest_s = self._time(self._buffer.rfind(STAMP, 0, size - STAMP_END), oldest_s)
        self._latencies.add(events, (now - oldest_s) * 1000, (now - newest_s) * 1000)
        self._most_ms = max(self._most_ms, (now - oldest_s) * 1000)

    def _time(self, at: int, otherwise_s: float) -> float:
        found = WHOLE_STAMP.match(self._buffer, at, at + STAMP_END + 1) if at >= 0 else None
        if found is None:
            return otherwise_s
        return datetime.fromisoformat(found[1].decode() + "+00:00").timestamp()


class Followers:
    """The process of the clients, seen from the benchmark."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def reset(self) -> None:
        """Count from now on."""
        await self._say("reset")

    async def figures(self) -> Figures:
        """Return what the clients have seen since `reset`."""
        return Figures(**json.loads(await self._say("figures")))

    async def _say(self, word: str) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await self._answer(SAY_S)

    async def _answer(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout_s):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the clients of the stream ended with {await self._process.wait()}")
        return line


@asynccontextmanager
async def following(url: str, path: str, *, clients: int) -> AsyncIterator[Followers]:
    """Yield the clients once all of them are connected; they end with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, "--url", url, "--path", path, "--clients", str(clients)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=private_env(PYTHONPATH=str(ROOT)),
    )
    followers = Followers(process)
    try:
        await followers._answer(CONNECT_S)
        yield followers
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(SAY_S):
            await process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Connect all, say `ready`, then answer each line of stdin, until it ends."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--clients", type=int, required=True)
    asked = parser.parse_args(arguments)
    allow_files(asked.clients + SPARE_FILES)
    clients = Clients(asked.url, asked.path, asked.clients)
    deadline = time.monotonic() + CONNECT_S
    while not clients.is_welcome:
        clients.read(1.0)
        if time.monotonic() > deadline:
            sys.exit(f"not all of {asked.clients} clients were connected within {CONNECT_S:g} s")
    clients.listen_to(sys.stdin.fileno())
    print("ready", flush=True)
    while True:
        if clients.read(1.0):
            match sys.stdin.readline().strip():
                case "reset":
                    clients.reset()
                    print("counting", flush=True)
                case "figures":
                    print(json.dumps(asdict(clients.figures())), flush=True)
                case _:
                    return


def allow_files(wanted: int) -> None:
    """Raise the limit of open files to so many, of this process and what it will start; as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted, hard)
        )


if __name__ == "__main__":
    main()
