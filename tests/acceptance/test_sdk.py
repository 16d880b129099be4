"""The client against real processes: what it is told survives killed gateways, cut connections and lost replies."""

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import psutil
import pytest

from distriqueue import AsyncClient, JobCancelled, JobFailed, ResultTimeout, Status
from distriqueue.sdk.mapping import CHUNK
from tests.acceptance import stack
from tests.acceptance.stack import ROOT, Ground, Platform
from tests.acceptance.terminals import on_terminal
from tests.servers.process import private_env
from tests.servers.proxy import Proxy, proxy

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that can echo."""
    monkeypatch.setattr(stack, "HANDLERS", "tests.acceptance.sdk_handlers:registry")


PAYLOADS: Final = 10_000
KILL_AFTER: Final = 2_000
PLUGIN: Final = "distriqueue.testing.plugin"
CUT_AWAY: Final = ("worker.gateway", "worker.reports", "dispatches", "broker")


MAPS: Final = """
import sys
from distriqueue import Client

with Client(sys.argv[1]) as client:
    for result in client.map("echo", [{"n": n} for n in range(int(sys.argv[2]))], timeout=90):
        print(result["n"], flush=True)
"""
"""A user's program."""


async def test_a_map_with_its_bar_survives_a_gateway_that_is_killed_in_the_middle(ground: Ground) -> None:
    async with (
        ground.platform(workers=2, capacity=20, tolerated=CUT_AWAY) as platform,
        on_terminal(MAPS, platform.url, str(PAYLOADS)) as running,
        asyncio.timeout(100),
    ):
        (gateway,) = platform.gateways
        taken: list[int] = []
        began_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while line := await running.out.readline():
                taken.append(int(line))
                if len(taken) == KILL_AFTER:
                    killed_at = gateway.kill()
                    group.create_task(asyncio.to_thread(gateway.start))
        took_s = time.monotonic() - began_at
        assert await running.process.wait() == 0, running.shown[-2000:]
        print(f"{PAYLOADS} payloads in {took_s:.1f} s, the gateway killed after {killed_at - began_at:.1f} s")
        assert taken == list(range(PAYLOADS))
        assert await platform.statuses() == {"completed": PAYLOADS}
        assert await platform.sql("SELECT count(*) AS n FROM batches") == [(PAYLOADS // CHUNK,)]
        steps = [int(each) for each in re.findall(rf"(\d+)/{PAYLOADS}", running.shown)]
        assert steps == sorted(steps)
        assert steps[-1] == PAYLOADS
        assert len(set(steps)) > 5


@asynccontextmanager
async def behind_a_proxy(platform: Platform) -> AsyncIterator[tuple[AsyncClient, Proxy]]:
    async with proxy(port_of(platform)) as wire, AsyncClient(f"http://127.0.0.1:{wire.port}") as client:
        yield client, wire


class ReplyThief:
    """Forwards requests, and cuts the connection instead of some replies: who asked cannot know what came of it."""

    def __init__(self, upstream_port: int, group: asyncio.TaskGroup) -> None:
        self.to_lose = 0
        self.lost = 0
        self._upstream_port = upstream_port
        self._group = group

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        replies, upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        self._group.create_task(self._pass(reader, upstream, steals=False))
        self._group.create_task(self._pass(replies, writer, steals=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, steals: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(262_144):
                if steals and self.to_lose:
                    self.to_lose -= 1
                    self.lost += 1
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def with_replies_stolen(platform: Platform) -> AsyncIterator[tuple[AsyncClient, ReplyThief]]:
    async with asyncio.TaskGroup() as group:
        thief = ReplyThief(port_of(platform), group)
        async with await asyncio.start_server(thief.accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with AsyncClient(f"http://127.0.0.1:{port}") as client:
                yield client, thief


def port_of(platform: Platform) -> int:
    return int(platform.url.rpartition(":")[2])


async def test_a_lost_reply_never_doubles_a_job(ground: Ground) -> None:
    async with ground.platform() as platform, with_replies_stolen(platform) as (client, thief):
        for n in range(10):
            thief.to_lose = n % 3 + 1
            job = await client.submit("echo", {"n": n})
            assert await job.result(timeout=20) == {"n": n}
        thief.to_lose = 5
        results = [result["n"] async for result in client.map("echo", ({"n": n} for n in range(500)), timeout=60)]
        assert results == list(range(500))
        assert thief.lost == sum(n % 3 + 1 for n in range(10)) + 5
        assert await platform.statuses() == {"completed": 510}


async def test_a_result_comes_across_cuts(ground: Ground) -> None:
    async with ground.platform() as platform, behind_a_proxy(platform) as (client, wire):
        job = await client.submit("record", {"ms": 1500})
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            waiting = group.create_task(job.result(timeout=20))
            for _ in range(5):
                await asyncio.sleep(0.2)  # nothing tells that a client waits
                assert not waiting.done()
                wire.cut()
            wire.close()
            await platform.until_over()
            wire.reopen()
        assert waiting.result() == {"attempt": 1}


async def test_how_a_job_ends_is_what_waiting_for_it_raises(ground: Ground) -> None:
    async with ground.platform() as platform, AsyncClient(platform.url) as client:
        failing = await client.submit("fail_n_times", {"times": 9}, max_retries=1, retry_policy={"base": 0.01})
        waiting = await client.submit("echo", {"n": 1}, depends_on=[await client.submit("record", {"ms": 60_000})])
        with pytest.raises(JobFailed, match="attempt 2 fails as it was told to") as failed:
            await failing.result(timeout=20)
        assert failed.value.error_type == "RuntimeError"
        assert "fail_n_times" in str(failed.value.traceback)
        with pytest.raises(ResultTimeout):
            await waiting.result(timeout=0.2)
        await waiting.cancel()
        with pytest.raises(JobCancelled):
            await waiting.result(timeout=20)
        (parent,) = [job async for job in client.iterate(type="record")]
        await parent.cancel()
        assert (await parent.wait(timeout=20)).status is Status.CANCELLED
        told = [event.status.value async for event in failing.events()]
        assert [each for each in told if each != "queued"] == [
            "pending",
            "running",
            "retrying",
            "pending",
            "running",
            "failed",
        ]


USERS_TEST: Final = """
from distriqueue import JobFailed
import pytest

def test_a_job_runs(distriqueue_client):
    assert distriqueue_client.submit("double", {"n": 21}).result(timeout=30) == 42

def test_another_runs_on_the_same_stack(distriqueue_client, distriqueue_stack):
    assert list(distriqueue_client.map("double", [{"n": n} for n in range(200)])) == list(range(0, 400, 2))
    with pytest.raises(JobFailed, match="invalid_payload"):
        distriqueue_client.submit("double", {"n": "x"}).result(timeout=30)
    print("stack", distriqueue_stack.supervisor_pid)
"""
USERS_HANDLERS: Final = """
from pydantic import BaseModel
from workers.handlers.registry import Registry

registry = Registry()

class Number(BaseModel):
    n: int

@registry.handler("double")
def double(payload: Number) -> int:
    return 2 * payload.n
"""


def test_a_users_tests_get_a_stack_that_ends_with_them(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(USERS_HANDLERS)
    (tmp_path / "test_it.py").write_text(USERS_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\ndistriqueue_worker_app = handlers:registry\n")
    # Installed as an entry point, or named: there is one of it.
    installed = any(each.value == PLUGIN for each in entry_points(group="pytest11"))
    named = () if installed else ("-p", PLUGIN)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", *named],
        cwd=tmp_path,
        env=private_env(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (supervisor,) = re.findall(r"^stack (\d+)$", ran.stdout, re.MULTILINE)
    assert not psutil.pid_exists(int(supervisor))
