"""API keys on an embedded stack, as its users have them: the first key shuts strangers out and the stack goes on."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from distriqueue.local import ports

pytestmark = pytest.mark.stack

OWN_KEYS: Final = ("workers.key", "operator.key")


class Client:
    """A stack on one home, and calls to it."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.urls = {"gateway": f"http://127.0.0.1:{port}", "orchestrator": f"http://127.0.0.1:{port + 1}"}
        self.port = port

    def run(self, *arguments: str, key: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run `distriqueue` on the home, with a key in the environment or without."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("DISTRIQUEUE_")}
        env |= {"DISTRIQUEUE_API_KEY": key} if key else {}
        command = [sys.executable, "-m", "distriqueue.cli", *arguments, "--home", str(self.home)]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=100, check=False)

    def up(self) -> None:
        """Start the stack, detached."""
        done = self.run("up", "--detach", "--workers", "1", "--orchestrators", "1", "--port", str(self.port))
        assert done.returncode == 0, done.stderr

    def call(
        self, method: str, path: str, key: str | None = None, *, at: str = "gateway", **body: Any
    ) -> httpx.Response:
        """Make one call."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.request(method, self.urls[at] + path, headers=headers, trust_env=False, timeout=20, **body)

    def run_job(self, key: str | None = None) -> dict[str, Any]:
        """Submit a job and return it as it ended."""
        job = {"type": "calculate", "payload": {"numbers": [1, 2]}}
        answer = self.call("POST", "/api/jobs", key, json=job)
        assert answer.status_code == 202, answer.text
        ended: dict[str, Any] = {}

        def is_over() -> bool:
            ended.update(self.call("GET", f"/api/jobs/{answer.json()['id']}", key).json())
            return bool(ended["finishedAt"])

        until(is_over, "the job to end")
        return ended


def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Wait for something that other processes do."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path / "home", ports.free_block(2))
    client.up()
    yield client
    client.run("down")


def test_the_first_key_shuts_strangers_out_and_the_stack_goes_on(stack: Client) -> None:
    own = {name: stack.home.joinpath(name).read_text() for name in OWN_KEYS}
    assert {stack.home.joinpath(name).stat().st_mode & 0o777 for name in OWN_KEYS} == {0o600}
    assert stack.run_job()["status"] == "completed"
    made = stack.run("apikey", "create", "me", "--scope", "admin")
    assert made.returncode == 0, made.stderr
    admin = made.stdout.strip()
    until(lambda: stack.call("GET", "/api/jobs").status_code == 401, "the gateway to close", 3.0)
    nodes = "/api/cluster/status"
    until(lambda: stack.call("GET", nodes, at="orchestrator").status_code == 401, "the orchestrator to close", 3.0)
    assert stack.call("GET", "/api/actuator/health").json() == {"status": "UP"}

    # The stack's own key carries its worker and the command line on.
    assert stack.run_job(admin)["status"] == "completed"
    before = _last_seen(stack, admin)
    until(lambda: _last_seen(stack, admin) > before, "another heartbeat")
    assert json.loads(stack.run("cluster", "status", "-o", "json").stdout)["leader"] == "orchestrator1"
    assert stack.run("status").returncode == 0
    workers = own["workers.key"]
    assert stack.call("POST", "/api/jobs", workers, json={"type": "calculate"}).status_code == 403
    assert admin not in "".join(log.read_text() for log in stack.home.joinpath("logs").glob("*.log"))

    # Its keys outlive a restart, but not their revocation.
    key_id = workers.split("_")[1]
    assert stack.run("apikey", "revoke", key_id).returncode == 0
    assert stack.run("down").returncode == 0
    refused = stack.run("apikey", "list")
    assert (refused.returncode, "no stack runs in" in refused.stderr) == (3, True)
    stack.up()
    now = {name: stack.home.joinpath(name).read_text() for name in OWN_KEYS}
    assert now["operator.key"] == own["operator.key"]
    assert now["workers.key"] != own["workers.key"]
    assert stack.run_job(admin)["status"] == "completed"
    assert stack.call("GET", "/api/jobs", workers).status_code == 401
    wrong = stack.run("cluster", "status", key=workers)
    assert (wrong.returncode, "the API key is wrong, or it was revoked" in wrong.stderr) == (4, True)


def _last_seen(stack: Client, key: str) -> str:
    return str(stack.call("GET", "/api/workers", key, at="orchestrator").json()["content"][-1]["lastSeen"])
