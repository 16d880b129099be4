"""The image's health check, against servers that answer what a test says."""

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import orjson
import pytest

from tests.unit.deploy.tools import ROOT

FILE: Final = ROOT / "deploy/docker/healthy.py"


class Peer:
    """A server that gives one answer to one path, and remembers what was sent."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.keys: list[str | None] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = peer.answers.get(self.path, (404, {}))
                peer.keys.append(self.headers["Authorization"])
                self.send_response(status)
                self.end_headers()
                self.wfile.write(orjson.dumps(body))

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Return a server that runs."""
    made = Peer()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join(5)
    made.server.server_close()


@pytest.fixture
def healthy() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("healthy", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_service_with_a_port_says_so_itself(
    healthy: ModuleType, peer: Peer, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    for service, path in {"gateway": "/health/ready", "orchestrator": "/api/health"}.items():
        monkeypatch.setenv(f"DISTRIQUEUE_{service.upper()}_PORT", str(peer.port))
        peer.answers = {path: (status, {"status": "?"})}
        assert healthy.main([service]) == code


def test_a_service_that_does_not_answer_is_unhealthy(
    healthy: ModuleType, peer: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISTRIQUEUE_GATEWAY_PORT", "1")
    assert healthy.main(["gateway"]) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([("w1.ab", "IDLE")], 0),
        ([("w1.aa", "UNRESPONSIVE"), ("w1.ab", "ACTIVE")], 0),
        ([("w1.ab", "UNRESPONSIVE")], 1),
        ([("w10.ab", "ACTIVE"), ("w2.ab", "ACTIVE")], 1),
        ([], 1),
    ],
)
def test_a_worker_is_healthy_when_an_orchestrator_hears_it(
    healthy: ModuleType, peer: Peer, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str]], code: int
) -> None:
    """The first orchestrator is away; only rows of this worker count, and one that lives is enough."""
    monkeypatch.setenv("DISTRIQUEUE_ORCHESTRATOR_URLS", f"http://127.0.0.1:1,{peer.url}")
    monkeypatch.setenv("DISTRIQUEUE_WORKER_ID", "w1")
    monkeypatch.setenv("DISTRIQUEUE_API_KEY", "dq_key")
    content = [{"workerId": name, "state": state} for name, state in rows]
    peer.answers["/api/workers?after=w1.&size=100"] = (200, {"content": content})
    assert healthy.main(["worker"]) == code
    assert peer.keys == ["Bearer dq_key"]


def test_it_finds_out_what_runs(healthy: ModuleType, tmp_path: Path) -> None:
    """Also behind an init that is process 1."""
    for pid, words in {
        "1": ["/sbin/docker-init", "--", "worker"],
        "7": ["python", "-m", "workers", "shop:app"],
    }.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes("\0".join(words).encode() + b"\0")
    assert healthy.running(tmp_path) == "worker"
    with pytest.raises(healthy.Unhealthy):
        healthy.running(tmp_path / "7")
