"""The first calls of a newcomer, word for word, on a stack as `distriqueue up` makes it, over each broker."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from distriqueue.local.stack import Stack
from tests.acceptance.stack import Ground

pytestmark = pytest.mark.stack

SUBMIT: Final = r"""
curl -X POST http://localhost:8080/api/jobs \
  -H "Content-Type: application/json" \
  -d '{
    "type": "calculate",
    "priority": "HIGH",
    "payload": {"numbers": [1, 2, 3, 4, 5]}
  }'
"""
STREAM: Final = "curl http://localhost:8080/api/jobs/stream"
TRANSFORM: Final = {
    "type": "transform",
    "priority": "MEDIUM",
    "payload": {"operation": "uppercase", "data": {"message": "hello"}},
}
VALIDATE: Final = {"type": "validate", "priority": "low", "payload": {"type": "email", "value": "someone@example.org"}}
HERE: Final = "http://localhost:8080"


class Shell:
    """Runs commands that speak of the default port, on the stack's port."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.gateway_urls[0]
        self._stack = stack

    def __call__(self, command: str) -> str:
        """Return what a command prints."""
        done = subprocess.run(
            ["bash", "-c", self._here(command)], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, command: str) -> "subprocess.Popen[str]":
        """Start a command and return it."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {self._here(command)}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def submit(self, command: str) -> str:
        """Submit by a curl command; check the 202 and return the job's id."""
        body, _, status = self(command.rstrip() + " -s -w '\\n%{http_code}'").rpartition("\n")
        assert status == "202", body
        return str(json.loads(body)["id"])

    def post(self, job: dict[str, Any]) -> str:
        """Submit a job."""
        return self.submit(f"curl {HERE}/api/jobs -H 'Content-Type: application/json' -d '{json.dumps(job)}'")

    def get(self, path: str) -> Any:
        """Return what a GET answers."""
        return json.loads(self(f"curl -s '{HERE}/api{path}'"))

    def result(self, job_id: str) -> Any:
        """Wait until the job is completed, and return its result."""
        job: dict[str, Any] = {}

        def is_over() -> bool:
            job.update(self.get(f"/jobs/{job_id}"))
            return bool(job["finishedAt"])

        self._stack.until(is_over, "the job's end")
        assert job["status"] == "completed", job
        return job["result"]

    def _here(self, command: str) -> str:
        assert HERE in command
        return command.replace(HERE, self._url)


@pytest.fixture
async def shell(ground: Ground, tmp_path: Path) -> Any:
    def start() -> Stack:
        return Stack.start(tmp_path / "home", workers=1, database_url=ground.database_url, broker_url=ground.broker_url)

    stack = await asyncio.to_thread(start)
    try:
        yield Shell(stack)
    finally:
        await asyncio.to_thread(stack.stop)


def test_the_seeds_calls(shell: Shell) -> None:
    with shell.start(f"{STREAM} -sN --max-time 60") as stream:
        try:
            told = _events(stream)
            assert next(told)[0] == "connected"
            calculated, transformed, validated = ids = [
                shell.submit(SUBMIT),
                shell.post(TRANSFORM),
                shell.post(VALIDATE),
            ]
            assert shell.result(calculated)["result"] == 15
            assert shell.result(calculated)["sum"] == 15
            assert shell.result(transformed)["result"] == {"message": "HELLO"}
            assert shell.result(validated)["valid"] is True
            assert _completed(told, 3) == set(ids)
        finally:
            stream.kill()
    statistics = shell.get("/jobs/statistics")
    assert statistics["total"] == 3
    assert statistics["byStatus"] == {"completed": 3}
    assert statistics["successRate"] == 1
    assert {each["name"] for each in statistics["byPriority"]} == {"HIGH", "MEDIUM", "LOW"}
    listed = shell.get("/jobs?status=completed&size=2")
    assert (listed["totalElements"], len(listed["content"])) == (3, 2)
    rest = shell.get(f"/jobs?status=completed&size=2&cursor={listed['nextCursor']}")
    assert {job["id"] for job in listed["content"] + rest["content"]} == set(ids)
    assert [job["id"] for job in shell.get("/jobs?type=validate")["content"]] == [validated]


def _events(stream: "subprocess.Popen[str]") -> Iterator[tuple[str, dict[str, Any]]]:
    assert stream.stdout is not None
    name = ""
    for line in stream.stdout:
        field, _, value = line.strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _completed(told: Iterator[tuple[str, dict[str, Any]]], count: int) -> set[str]:
    found: set[str] = set()
    for name, data in told:
        assert name == "job-update"
        if data["status"] == "completed":
            found.add(data["jobId"])
        if len(found) == count:
            return found
    raise AssertionError(f"the stream ended, and only told of {found}")
