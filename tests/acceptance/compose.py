"""docker-compose.yml as a project of its own: other ports than anybody's, removed whole at the end."""

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from distriqueue.local.ports import free_block

ROOT: Final = Path(__file__).parents[2]
COMMAND_S: Final = 600.0
SETTLE_S: Final = 240.0
PORTS: Final = (
    "DISTRIQUEUE_GATEWAY_PORT",
    "DISTRIQUEUE_ORCHESTRATOR1_PORT",
    "DISTRIQUEUE_ORCHESTRATOR2_PORT",
    "DISTRIQUEUE_ORCHESTRATOR3_PORT",
    "DISTRIQUEUE_GATEWAY2_PORT",
    "RABBITMQ_MANAGEMENT_PORT",
    "PROMETHEUS_PORT",
    "GRAFANA_PORT",
)
ORCHESTRATORS: Final = ("orchestrator1", "orchestrator2", "orchestrator3")
WORKERS: Final = ("python-worker1", "python-worker2")
OVERRIDE: Final = "\n".join(
    [
        "services:",
        *(
            line
            for worker in WORKERS
            for line in (
                f"  {worker}:",
                '    command: [worker, "compose_handlers:registry"]',
                f'    volumes: ["{ROOT}/tests/acceptance/compose_handlers.py:/app/compose_handlers.py:ro"]',
            )
        ),
    ]
)


@cache
def missing() -> str | None:
    """Return why containers cannot be started here; None when they can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    answer = subprocess.run(["docker", "info", "-f", "{{.ServerVersion}}"], capture_output=True, text=True, check=False)
    if answer.returncode != 0 or not answer.stdout.strip():
        return "the docker daemon does not answer"
    return None if program() else "neither `docker compose` nor `docker-compose` is installed"


@cache
def program() -> tuple[str, ...]:
    """Return what Compose is called here; nothing when there is none."""
    for command in (("docker", "compose"), ("docker-compose",)):
        with_version = (*command, "version", "--short")
        if shutil.which(command[0]) and subprocess.run(with_version, capture_output=True, check=False).returncode == 0:
            return command
    return ()


class Cluster:
    """One project of docker-compose.yml."""

    def __init__(self, scratch: Path, *, profiles: Sequence[str] = ()) -> None:
        self.project = f"dqtest{secrets.token_hex(3)}"
        first = free_block(len(PORTS))
        self.ports = {name: first + offset for offset, name in enumerate(PORTS)}
        self.url = f"http://127.0.0.1:{first}"
        override = scratch / "override.yml"
        override.write_text(OVERRIDE, encoding="utf-8")
        self._files = ("-f", str(ROOT / "docker-compose.yml"), "-f", str(override), "--project-directory", str(ROOT))
        self._env = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROFILES": ",".join(profiles),
        }

    def compose(self, *arguments: str) -> str:
        """Run Compose and return what it prints; AssertionError with its complaint."""
        return self._run(*program(), "-p", self.project, *self._files, *arguments)

    def docker(self, *arguments: str) -> str:
        """Run docker and return what it prints; AssertionError with its complaint."""
        return self._run("docker", *arguments)

    def shell(self, command: str) -> str:
        """Run a command of the shell that speaks of the seed's addresses and names; return what it prints."""
        here = command.replace("localhost:8080", f"127.0.0.1:{self.ports['DISTRIQUEUE_GATEWAY_PORT']}")
        here = here.replace("docker-compose ", " ".join((*program(), "-p", self.project, *self._files)) + " ")
        return self._run("bash", "-c", here)

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        return self.compose("ps", "-a", "-q", service).split()[0]

    def kill(self, service: str) -> None:
        """End a container as a crash would; Docker does not start it again."""
        self.docker("kill", self.container(service))

    def health(self) -> dict[str, str]:
        """Return how each service is: `healthy`, `done` after a good end, or what it is instead."""
        found = json.loads(self.docker("inspect", *self.compose("ps", "-a", "-q").split()))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: _state(each["State"]) for each in found}

    def settle(self, *without: str) -> None:
        """Wait until every service is healthy or done, besides those that are left out."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            late = {
                service: state
                for service, state in self.health().items()
                if state not in ("healthy", "done") and service not in without
            }
            if not late:
                return
            assert time.monotonic() < deadline, late
            time.sleep(1.0)

    def leader(self) -> str:
        """Return the orchestrator that leads."""
        for name in ORCHESTRATORS:
            port = self.ports[f"DISTRIQUEUE_{name.upper()}_PORT"]
            answer = self._run("curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{port}/api/cluster/status")
            status: dict[str, Any] = json.loads(answer)
            if status["role"] == "leader" and status["established"]:
                return name
        raise AssertionError("no orchestrator leads")

    def left_over(self) -> list[str]:
        """Return all that Docker still has of the project."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            line
            for kind in (("ps", "-a"), ("volume", "ls"), ("network", "ls"))
            for line in self.docker(*kind, "-q", "--filter", label).split()
        ]

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self._env, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout


@contextmanager
def running(scratch: Path, *, profiles: Sequence[str] = ()) -> Iterator[Cluster]:
    """Build, start, wait until all is healthy; remove it at the end, and see that nothing is left."""
    cluster = Cluster(scratch, profiles=profiles)
    cluster.compose("build")
    try:
        cluster.compose("up", "-d")
        cluster.settle()
        yield cluster
    finally:
        cluster.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        assert cluster.left_over() == []


def _state(state: dict[str, Any]) -> str:
    if state["Status"] == "exited" and state["ExitCode"] == 0:
        return "done"
    if state["Status"] != "running" or "Health" not in state:
        return str(state["Status"])
    return str(state["Health"]["Status"])
