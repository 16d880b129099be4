"""The embedded stack as its users have it: real processes, started, killed and stopped by the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from distriqueue.local import pids, ports
from distriqueue.local.stack import Stack
from distriqueue.local.state import Role
from tests.servers.rabbitmq import RabbitMQServer

pytestmark = pytest.mark.stack

ROLES: Final = ["gateway", "orchestrator", "postgres", "worker"]


class CommandLine:
    """`distriqueue` on one home."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.url = f"http://127.0.0.1:{port}/api"
        self.seen: set[pids.Pid] = set()

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("DISTRIQUEUE_")}
        command = [sys.executable, "-m", "distriqueue.cli", *arguments, "--home", str(self.home)]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=100, check=False)

    def up(self, *more: str, port: int | None = None) -> "subprocess.CompletedProcess[str]":
        """Start detached, and remember what runs then; one orchestrator, unless told otherwise."""
        nodes = () if "--orchestrators" in more else ("--orchestrators", "1")
        done = self("up", "--detach", "--workers", "1", "--port", str(port or self.port), *nodes, *more)
        if done.returncode == 0:
            self.remember()
        return done

    def status(self) -> dict[str, Any]:
        """Return what `status --json` says."""
        answer: dict[str, Any] = json.loads(self("status", "--json").stdout)
        return answer

    def pid(self, role: str) -> int:
        """Return the process of a role that has one."""
        return int(next(each["pid"] for each in self.status()["processes"] if each["role"] == role))

    def remember(self) -> None:
        """Keep every process of the stack in mind, with the processes these have started."""
        status = self.status()
        for pid in [status["supervisor"], *(each["pid"] for each in status["processes"] if each["pid"])]:
            self.seen |= {pids.of(pid), *map(pids.of, _children(pid))}

    def left(self) -> list[pids.Pid]:
        """Return which processes of this home still live."""
        return [each for each in self.seen if each.alive()]

    def run_job(self, **job: object) -> dict[str, Any]:
        """Submit a job and return it as it ended."""
        answer = httpx.post(f"{self.url}/jobs", json={"type": "calculate", "payload": {"numbers": [1, 2]}} | job)
        assert answer.status_code == 202, answer.text
        job_url = f"{self.url}/jobs/{answer.json()['id']}"
        ended: dict[str, Any] = {}

        def is_over() -> bool:
            ended.update(httpx.get(job_url).json())
            return bool(ended["finishedAt"])

        until(is_over, "the job to end")
        return ended


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text(encoding="ascii").split()] if listed.exists() else []


def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Wait for something that other processes do."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


@pytest.fixture
def distriqueue(tmp_path: Path) -> Iterator[CommandLine]:
    command = CommandLine(tmp_path / "a home", ports.free_block(2))
    yield command
    command("down")
    assert command.left() == []


def test_up_status_and_down(distriqueue: CommandLine) -> None:
    started = distriqueue.up()
    assert started.returncode == 0, started.stderr
    assert f"gateway1 is ready at http://127.0.0.1:{distriqueue.port}" in started.stdout
    status = distriqueue.status()
    assert status["state"] == "ready"
    assert sorted(each["role"] for each in status["processes"]) == ROLES
    assert {each["state"] for each in status["processes"]} == {"running"}
    assert all(pids.of(each["pid"]).alive() for each in status["processes"])
    ports_of = {each["role"]: each["port"] for each in status["processes"]}
    assert ports_of["gateway"] == distriqueue.port
    assert ports_of["orchestrator"] == distriqueue.port + 1
    assert ports_of["worker"] is None
    assert "postgresql://distriqueue:***@127.0.0.1:" in status["databaseUrl"]
    assert distriqueue.run_job()["result"]["result"] == 3
    distriqueue.remember()
    stopped = distriqueue("down")
    assert stopped.returncode == 0
    assert stopped.stdout.splitlines()[-1] == "stopped"
    assert len(distriqueue.seen) >= 10  # the supervisor, four processes, and those of Postgres
    assert distriqueue.left() == []
    assert distriqueue.status()["state"] == "stopped"
    assert {each["state"] for each in distriqueue.status()["processes"]} == {"stopped"}


def test_a_second_up_names_the_home_and_the_port(distriqueue: CommandLine, tmp_path: Path) -> None:
    assert distriqueue.up().returncode == 0
    same_home = distriqueue.up()
    assert same_home.returncode == 1
    assert f"a stack already runs in {distriqueue.home}" in same_home.stderr
    other = CommandLine(tmp_path / "other", distriqueue.port)
    same_port = other.up()
    assert same_port.returncode == 1
    gateway = distriqueue.pid("gateway")
    assert f"error: port {distriqueue.port} (gateway1) is taken by process {gateway} (" in same_port.stderr
    assert "--port" in same_port.stderr
    assert distriqueue.run_job()["status"] == "completed"


def test_a_killed_process_is_back_and_works(distriqueue: CommandLine) -> None:
    assert distriqueue.up().returncode == 0
    for role in ("worker", "gateway", "postgres"):
        killed = distriqueue.pid(role)
        os.kill(killed, signal.SIGKILL)

        def is_back(role: str = role, killed: int = killed) -> bool:
            now = next(each for each in distriqueue.status()["processes"] if each["role"] == role)
            return bool(now["state"] == "running" and now["pid"] != killed and now["restarts"] == 1)

        until(is_back, f"the {role} to be back")
    distriqueue.remember()

    def takes_jobs() -> bool:
        try:
            return httpx.get(f"{distriqueue.url}/jobs").status_code == 200
        except httpx.TransportError:
            return False

    until(takes_jobs, "the gateway to have its database back")
    assert distriqueue.run_job()["status"] == "completed"


def test_data_survives_down_and_up(distriqueue: CommandLine) -> None:
    assert distriqueue.up().returncode == 0
    job = distriqueue.run_job(payload={"numbers": [40, 2]})
    assert distriqueue("down").returncode == 0
    distriqueue.port = ports.free_block(2)
    distriqueue.url = f"http://127.0.0.1:{distriqueue.port}/api"
    assert distriqueue.up().returncode == 0
    kept = httpx.get(f"{distriqueue.url}/jobs/{job['id']}").json()
    assert kept["status"] == "completed"
    assert kept["result"]["result"] == 42


def test_two_stacks_side_by_side(distriqueue: CommandLine, tmp_path: Path) -> None:
    other = CommandLine(tmp_path / "other", ports.free_block(2))
    try:
        assert distriqueue.up().returncode == 0
        assert other.up().returncode == 0
        job = distriqueue.run_job()
        assert httpx.get(f"{other.url}/jobs/{job['id']}").status_code == 404
        assert other("down").returncode == 0
        assert other.left() == []
        assert distriqueue.run_job()["status"] == "completed"
    finally:
        other("down")


def test_a_killed_supervisor_leaves_nothing_behind(distriqueue: CommandLine) -> None:
    assert distriqueue.up().returncode == 0
    os.kill(distriqueue.status()["supervisor"], signal.SIGKILL)
    until(lambda: not pids.of(distriqueue.pid("worker")).alive(), "the worker to follow its supervisor")
    assert distriqueue("status").returncode == 1
    assert distriqueue.status()["state"] == "lost"
    assert distriqueue("down").returncode == 0
    assert distriqueue.left() == []


def test_up_recovers_from_a_killed_supervisor(distriqueue: CommandLine) -> None:
    assert distriqueue.up().returncode == 0
    job = distriqueue.run_job()
    os.kill(distriqueue.status()["supervisor"], signal.SIGKILL)
    mark = json.loads((distriqueue.home / "state.json").read_text(encoding="utf-8"))["mark"]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={pids.MARK: mark}) as escaped:
        left = pids.of(escaped.pid)
        again = distriqueue.up()
        assert not left.alive()
    assert again.returncode == 0, again.stderr
    assert "processes that an earlier stack left" in again.stdout
    assert httpx.get(f"{distriqueue.url}/jobs/{job['id']}").json()["status"] == "completed"


def test_a_start_that_fails_shows_the_log_and_leaves_nothing(distriqueue: CommandLine) -> None:
    failed = distriqueue.up("--worker-app", "no_such_module:registry")
    assert failed.returncode == 1
    assert "error: worker1 did not start: ended with exit code" in failed.stderr
    assert "no_such_module" in failed.stderr
    status = distriqueue.status()
    assert status["state"] == "failed"
    assert {each["state"] for each in status["processes"]} <= {"stopped", "failed"}
    assert distriqueue("down").stdout == f"no stack runs in {distriqueue.home}\n"


def test_ctrl_c_in_the_foreground_drains_workers_first(distriqueue: CommandLine) -> None:
    command = [sys.executable, "-m", "distriqueue.cli", "up", "--workers", "1", "--orchestrators", "1", "--port"]
    with subprocess.Popen(
        [*command, str(distriqueue.port), "--home", str(distriqueue.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as foreground:
        assert foreground.stdout is not None
        lines = iter(foreground.stdout.readline, "")
        assert any("worker1 is ready" in line for line in lines)
        distriqueue.remember()
        foreground.send_signal(signal.SIGINT)
        rest = list(lines)
        assert foreground.wait(30) == 0
    stops = [line.split("|")[1].strip() for line in rest if "| stopping" in line]
    assert stops == ["stopping worker1", "stopping gateway1, orchestrator1", "stopping postgres"]
    assert any(line.startswith("worker1       | ") and "worker_stopped" in line for line in rest)
    assert distriqueue.left() == []


@pytest.mark.rabbitmq
def test_jobs_go_through_rabbitmq_when_told(distriqueue: CommandLine, rabbitmq_server: RabbitMQServer) -> None:
    assert distriqueue.up("--broker-url", rabbitmq_server.url).returncode == 0
    assert distriqueue.status()["brokerUrl"] == rabbitmq_server.url.replace("guest@", "***@")
    assert distriqueue.run_job(priority="CRITICAL")["status"] == "completed"


def test_an_own_postgres_is_used_and_none_is_started(distriqueue: CommandLine, empty_database_url: str) -> None:
    assert distriqueue.up("--database-url", empty_database_url).returncode == 0
    assert [each["role"] for each in distriqueue.status()["processes"]] == ["gateway", "orchestrator", "worker"]
    assert distriqueue.run_job()["status"] == "completed"
    assert not (distriqueue.home / "postgres").exists()


def test_the_stack_of_a_test_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from distriqueue.local.stack import Stack\n"
        "stack = Stack.start(pathlib.Path(sys.argv[1]))\n"
        "print(stack.supervisor_pid, *(each.process.pid for each in stack.state.processes), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    until(lambda: not any(pids.of(int(pid)).alive() for pid in done.stdout.split()), "the stack to follow")


def test_a_stack_with_two_gateways_for_tests(tmp_path: Path) -> None:
    with Stack.start(tmp_path / "home", gateways=2, workers=1, worker_capacity=3) as stack:
        assert len(stack.gateway_urls) == 2
        assert len(stack.pids(Role.GATEWAY)) == 2
        for url in stack.gateway_urls:
            assert httpx.get(f"{url}/api/jobs").status_code == 200
        old = stack.pids(Role.WORKER)[0]
        os.kill(old, signal.SIGKILL)
        assert stack.replaced(Role.WORKER, old) == stack.pids(Role.WORKER)[0]
        assert "worker_started" in stack.log("worker1")
        everything = [pids.of(pid) for role in ROLES for pid in stack.pids(role)]
        assert len(everything) == 5
    assert not any(each.alive() for each in everything)
