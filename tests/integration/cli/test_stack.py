"""The command line beside a whole stack of real processes, found by its home."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from distriqueue.local import pids
from distriqueue.local.stack import Stack
from tests.servers.process import private_env

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

PROGRAM: Final = (sys.executable, "-m", "distriqueue.cli")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without workers of its own."""
    with Stack.start(tmp_path_factory.mktemp("stack") / "home", workers=0) as running:
        yield running


@pytest.fixture(scope="module")
def project(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that `init` has made, with its worker; that is gone when Ctrl-C is pressed."""
    parent = tmp_path_factory.mktemp("project")
    assert distriqueue(stack, "init", "shop", cwd=parent).returncode == 0
    worker = subprocess.Popen(
        [*PROGRAM, "worker", "shop.jobs:registry", "--reload"],
        cwd=parent / "shop",
        env=private_env(DISTRIQUEUE_HOME=str(stack.home.path)),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield parent / "shop"
        of_it = [pids.of(pid) for pid in _children(worker.pid)]
    finally:
        worker.send_signal(signal.SIGINT)
        worker.wait(60)
    assert worker.returncode == 0
    assert of_it
    assert not any(each.alive() for each in of_it)


def distriqueue(stack: Stack, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command on the home of the stack."""
    env = private_env(DISTRIQUEUE_HOME=str(stack.home.path))
    return subprocess.run(
        [*PROGRAM, *arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def greeting(stack: Stack) -> str:
    """Return the result of a job of the project."""
    done = distriqueue(stack, "submit", "greet", "--payload", '{"name": "Ada"}', "--wait", "--timeout", "50")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["greeting"])


@pytest.mark.usefixtures("project")
def test_a_job_to_its_result_and_back_to_its_timeline(stack: Stack) -> None:
    assert greeting(stack) == "Hello, Ada!"
    [job] = json.loads(distriqueue(stack, "jobs", "list", "-n", "1", "-o", "json").stdout)["content"]
    shown = distriqueue(stack, "jobs", "events", job["id"]).stdout
    assert [line.split()[1] for line in shown.splitlines()[1:]][-2:] == ["running", "completed"]


@pytest.mark.usefixtures("project")
def test_doctor_and_top_know_all_of_it(stack: Stack) -> None:
    assert greeting(stack)  # its worker lives
    doctor = distriqueue(stack, "doctor", "-o", "json")
    assert doctor.returncode == 0, doctor.stdout
    checks = json.loads(doctor.stdout)["checks"]
    assert {each["what"] for each in checks if each["level"] == "ok"} >= {
        "stack",
        "database",
        "broker",
        "orchestrators",
    }
    top = distriqueue(stack, "top", "--once")
    assert "orchestrator1 leads in term 1, 1 of 1 nodes answer" in top.stdout
    assert json.loads(distriqueue(stack, "top", "--once", "-o", "json").stdout)["leader"] == "orchestrator1"


def test_a_worker_follows_the_changes_of_its_project(stack: Stack, project: Path) -> None:
    assert greeting(stack) == "Hello, Ada!"
    jobs = project / "shop" / "jobs.py"
    jobs.write_text(jobs.read_text(encoding="utf-8").replace("Hello", "Good evening"), encoding="utf-8")
    deadline_s = time.monotonic() + 60
    while (said := greeting(stack)) != "Good evening, Ada!":
        assert said == "Hello, Ada!"
        assert time.monotonic() < deadline_s


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
