"""Which processes a stack consists of, and the settings that tie them together."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from distriqueue.local.child import Program
from distriqueue.local.ports import LOOPBACK
from distriqueue.local.probe import answers
from distriqueue.local.state import Role
from distriqueue.settings import PREFIX, LogSettings, WorkerSettings

_WORKER_READY: Final = "worker_started"


@dataclass(frozen=True, slots=True)
class Options:
    """What a stack is to be; `home` is a path, ports follow `port`."""

    home: str
    port: int = 8080
    gateways: int = 1
    orchestrators: int = 1
    workers: int = 2
    worker_capacity: int | None = None
    worker_app: str | None = None
    database_url: str | None = None
    broker_url: str | None = None
    tied: bool = False
    """Stop when the standard input closes: the stack ends with the process that started it."""

    def gateway_ports(self) -> tuple[int, ...]:
        """Return `port`, and for further gateways the ports after those of the orchestrators."""
        return (self.port, *range(self.port + 1 + self.orchestrators, self.port + self.orchestrators + self.gateways))

    def orchestrator_ports(self) -> tuple[int, ...]:
        """Return the ports after the first gateway's."""
        return tuple(range(self.port + 1, self.port + 1 + self.orchestrators))

    def wanted_ports(self) -> tuple[tuple[int, str], ...]:
        """Return every port with its use."""
        return (
            *((port, f"gateway{number}") for number, port in enumerate(self.gateway_ports(), 1)),
            *((port, f"orchestrator{number}") for number, port in enumerate(self.orchestrator_ports(), 1)),
        )


@dataclass(frozen=True, slots=True)
class Raft:
    """What several orchestrators elect a leader by: ports in a row, a common secret, a directory for each."""

    first_port: int
    secret: str
    data: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs of the services; each tuple is a stage, started together once the former is ready."""

    migrate: Program
    control: tuple[Program, ...]
    workers: tuple[Program, ...]


def plan(
    options: Options, *, env: Mapping[str, str], database_url: str, broker_url: str, raft: Raft | None = None
) -> Plan:
    """Lay out the services on these addresses; `env` is what all of them inherit, `raft` for several orchestrators."""
    host = env.get(f"{PREFIX}GATEWAY_HOST") or LOOPBACK
    gateway_urls = tuple(f"http://{dialled(host)}:{port}" for port in options.gateway_ports())
    orchestrator_host = env.get(f"{PREFIX}ORCHESTRATOR_HOST") or LOOPBACK
    orchestrator_urls = tuple(f"http://{dialled(orchestrator_host)}:{port}" for port in options.orchestrator_ports())
    # Without the database: workers get it neither from us nor from the caller's environment.
    workers = {
        **{name: value for name, value in env.items() if name != f"{PREFIX}DATABASE_URL"},
        f"{PREFIX}BROKER_URL": broker_url,
        f"{PREFIX}GATEWAY_URL": ",".join(gateway_urls),
        f"{PREFIX}ORCHESTRATOR_URLS": ",".join(orchestrator_urls),
    }
    shared = {**workers, f"{PREFIX}DATABASE_URL": database_url}
    gateways = tuple(
        Program(
            role=Role.GATEWAY,
            name=f"gateway{number}",
            argv=_module("gateway"),
            env=shared | {f"{PREFIX}GATEWAY_PORT": str(port)},
            port=port,
            url=url,
            ready=partial(answers, f"{url}/health/ready"),
        )
        for number, (port, url) in enumerate(zip(options.gateway_ports(), gateway_urls, strict=True), 1)
    )
    orchestrators = tuple(
        Program(
            role=Role.ORCHESTRATOR,
            name=f"orchestrator{number}",
            argv=_module("orchestrator"),
            env=shared
            | {f"{PREFIX}ORCHESTRATOR_PORT": str(port), f"{PREFIX}NODE_ID": f"orchestrator{number}"}
            | _election(options, number, orchestrator_host, raft),
            port=port,
            url=url,
            ready=partial(answers, f"{url}/api/health"),
        )
        for number, (port, url) in enumerate(zip(options.orchestrator_ports(), orchestrator_urls, strict=True), 1)
    )
    return Plan(
        migrate=Program(
            role=Role.MIGRATE,
            name="migrate",
            argv=_module("distriqueue.cli", "migrate"),
            env=shared,
            once=True,
            ready_s=120.0,
        ),
        control=(*gateways, *orchestrators),
        workers=_workers(options, workers),
    )


def dialled(host: str) -> str:
    """Return the address at which a server that listens on `host` is reached from here."""
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 -- compared, not bound
    return f"[{host}]" if ":" in host else host


def _election(options: Options, number: int, host: str, raft: Raft | None) -> dict[str, str]:
    if raft is None:
        return {}
    names = [f"orchestrator{each}" for each in range(1, options.orchestrators + 1)]
    peers = [f"{name}=http://{dialled(host)}:{port}" for port, name in enumerate(names, raft.first_port)]
    return {
        f"{PREFIX}PEERS": ",".join(peers),
        f"{PREFIX}CLUSTER_SECRET": raft.secret,
        f"{PREFIX}DATA_DIR": str(raft.data / names[number - 1]),
        f"{PREFIX}RAFT_PORT": str(raft.first_port + number - 1),
    }


def _workers(options: Options, shared: Mapping[str, str]) -> tuple[Program, ...]:
    env = dict(shared)
    if options.worker_capacity is not None:
        env[f"{PREFIX}WORKER_CAPACITY"] = str(options.worker_capacity)
    drain_s = WorkerSettings.load().worker_drain
    # A worker has no port to ask; where its log is told to be quieter, to run is to be ready.
    informs = LogSettings.load().log_level in {"debug", "info"}
    return tuple(
        Program(
            role=Role.WORKER,
            name=f"worker{number}",
            argv=_worker_argv(options.worker_app),
            env=env | {f"{PREFIX}WORKER_ID": f"worker{number}"},
            ready_line=_WORKER_READY if informs else None,
            drain_s=drain_s + 5.0,
        )
        for number in range(1, options.workers + 1)
    )


def _worker_argv(app: str | None) -> tuple[str, ...]:
    if app is None:
        return _module("workers")
    # Without -P: the user's handlers are looked for where the stack was started.
    return (sys.executable, "-m", "workers", app)


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    # -P: a folder of the same name where the user stands must not be run instead of the service.
    return (sys.executable, "-P", "-m", name, *arguments)
