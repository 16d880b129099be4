"""The cluster as users of the embedded stack have it: three nodes by default, and the commands that look at them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distriqueue.local import ports

pytestmark = pytest.mark.stack


class CommandLine:
    """`distriqueue` on one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        env = {name: value for name, value in os.environ.items() if not name.startswith("DISTRIQUEUE_")}
        command = [sys.executable, "-m", "distriqueue.cli", *arguments, "--home", str(self.home)]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=100, check=False)

    def settled(self) -> dict[str, Any]:
        """Wait until all nodes agree on an established leader, and return what the command says then."""
        deadline_s = time.monotonic() + 15
        while (done := self("cluster", "status", "-o", "json")).returncode:
            assert time.monotonic() < deadline_s, done.stdout + done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said


@pytest.fixture
def distriqueue(tmp_path: Path) -> Iterator[CommandLine]:
    command = CommandLine(tmp_path / "home")
    yield command
    command("down")


def test_up_starts_three_nodes_and_leadership_moves_on_request(distriqueue: CommandLine) -> None:
    started = distriqueue("up", "--detach", "--workers", "1", "--port", str(ports.free_block(4)))
    assert started.returncode == 0, started.stderr
    said = distriqueue.settled()
    assert [node["role"] for node in said["nodes"]].count("leader") == 1
    assert {node["leader"] for node in said["nodes"]} == {said["leader"]}
    assert (distriqueue.home / "cluster.secret").stat().st_mode & 0o777 == 0o600
    target = next(node["node"] for node in said["nodes"] if node["role"] == "follower")
    moved = distriqueue("cluster", "step-down", "--to", target, "-o", "json")
    assert json.loads(moved.stdout) == {"node": said["leader"], "leader": target}
    assert distriqueue.settled()["leader"] == target
    shown = distriqueue("cluster", "status")
    assert shown.returncode == 0
    assert shown.stdout.count("follower") == 2
    wrong = distriqueue("cluster", "step-down", "--to", "nobody")
    assert wrong.returncode == 6
    assert "error: nobody is not one of " in wrong.stderr
