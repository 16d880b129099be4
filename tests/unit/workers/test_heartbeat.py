"""The heartbeat: on time while the loop is blocked, to whoever answers."""

import asyncio
import contextlib
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator

import pytest
import structlog
from pydantic import SecretStr

from distriqueue.core.messages import Heartbeat, HeartbeatAnswer
from orchestrator import registry
from tests.unit.workers.fakes import FakeOrchestrator, refused_url, served, until
from workers.runtime import heartbeat
from workers.runtime.heartbeat import HeartbeatThread, period_s


def _busy() -> Heartbeat:
    return Heartbeat(worker_id="w.1", current_load=1)


@contextlib.asynccontextmanager
async def beating(
    *urls: str, answers: list[HeartbeatAnswer] | None = None, api_key: SecretStr | None = None
) -> AsyncIterator[HeartbeatThread]:
    """Beat twenty times a second, as a worker that has something to do."""
    heard = answers if answers is not None else []
    thread = HeartbeatThread(urls, _busy, heard.append, every_s=0.05, api_key=api_key)
    await thread.start(5)
    try:
        yield thread
    finally:
        await thread.close()


async def test_it_beats_and_hands_over_the_answers() -> None:
    orchestrator, answers = FakeOrchestrator(), list[HeartbeatAnswer]()
    orchestrator.answer["drain"] = True
    async with served(orchestrator) as url, beating(url, answers=answers):
        assert orchestrator.beats, "start returns after the first beat"
        await until(lambda: len(answers) >= 3)
    assert answers[0].drain
    assert [beat["stopped"] for beat in orchestrator.beats[-2:]] == [False, True]


async def test_it_fails_over_and_stays_with_who_answers() -> None:
    sick, well = FakeOrchestrator(), FakeOrchestrator()
    sick.status = 500
    async with served(sick) as one, served(well) as two, beating(refused_url(), one, two):
        await until(lambda: len(well.beats) >= 5)
    assert len(sick.beats) <= 2


async def test_the_key_is_shown_and_its_refusal_told_without_it() -> None:
    orchestrator, key = FakeOrchestrator(), SecretStr("dq_the-key")
    orchestrator.status = 401
    with structlog.testing.capture_logs() as logs:
        async with served(orchestrator) as url:
            async with beating(url):
                pass
            async with beating(url, api_key=key):
                pass
    assert orchestrator.keys == {None, b"Bearer dq_the-key"}
    said = [line["errors"][0] for line in logs if line["event"] == "no_orchestrator"]
    assert any(error.startswith("DISTRIQUEUE_API_KEY is missing: ") for error in said)
    assert any(error.startswith("DISTRIQUEUE_API_KEY is refused, it is unknown or revoked: ") for error in said)
    assert "the-key" not in str(logs)


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
def test_a_cancel_is_told_within_one_and_a_half_seconds(draw: float) -> None:
    """The worst case: just after a flush, then just after a beat. What is left is for the database and the network."""
    assert registry.FLUSH_S + period_s(heartbeat.EVERY_S, draw) <= 1.25


async def test_an_idle_worker_skips_every_other_beat_and_a_busy_one_none() -> None:
    orchestrator, load, composed = FakeOrchestrator(), 0, list[int]()

    def compose() -> Heartbeat:
        composed.append(load)
        return Heartbeat(worker_id="w.1", current_load=load)

    async with served(orchestrator) as url:
        thread = HeartbeatThread([url], compose, lambda _: None, every_s=0.05)
        await thread.start(5)
        await until(lambda: len(composed) >= 7)
        load = 1
        await until(lambda: composed.count(1) >= 3)
        await thread.close()
    loads = [beat["currentLoad"] for beat in orchestrator.beats]
    idle, busy = composed.count(0), composed.count(1)
    assert loads.count(0) == (idle + 1) // 2
    assert loads.count(1) == busy


async def test_without_orchestrators_it_ends_all_the_same() -> None:
    async with beating(refused_url(), refused_url()):
        pass
    async with beating():
        pass


async def test_it_goes_on_after_an_answer_that_is_none() -> None:
    orchestrator, answers = FakeOrchestrator(), list[HeartbeatAnswer]()
    orchestrator.answer = {"cancel": "nonsense"}
    async with served(orchestrator) as url, beating(url, answers=answers):
        await until(lambda: len(orchestrator.beats) >= 2)
        orchestrator.answer = {}
        await until(lambda: bool(answers))


SERVER = """
    import http.server, sys, threading, time
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200); self.send_header("content-length", "2"); self.end_headers()
            self.wfile.write(b"{}")
            print("beat", flush=True)
        def log_message(self, *args): pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
"""


async def test_it_beats_while_a_handler_blocks_the_loop_and_says_where() -> None:
    command = [sys.executable, "-c", textwrap.dedent(SERVER)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        with structlog.testing.capture_logs() as logs:
            heartbeat_blocked_s = heartbeat.BLOCKED_S
            heartbeat.BLOCKED_S = 0.2  # type: ignore[misc]
            try:
                async with beating(f"http://127.0.0.1:{port}"):
                    await asyncio.sleep(0.1)
                    time.sleep(0.7)  # noqa: ASYNC251 # the point of the test
            finally:
                heartbeat.BLOCKED_S = heartbeat_blocked_s  # type: ignore[misc]
        server.kill()
        beats = server.stdout.read().count("beat")
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
    assert beats >= 10
    blocked = [line for line in logs if line["event"] == "event_loop_blocked"]
    assert blocked
    assert "time.sleep" in blocked[0]["where"]
