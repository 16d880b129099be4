"""What runs in a home: `state.json`, written whole at every change and readable by its owner only."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from distriqueue.core.errors import DistriQueueError
from distriqueue.local.home import write_private
from distriqueue.local.pids import Pid


class Role(StrEnum):
    """What a process does; `migrate` is a step of the start and ends."""

    POSTGRES = "postgres"
    MIGRATE = "migrate"
    GATEWAY = "gateway"
    ORCHESTRATOR = "orchestrator"
    WORKER = "worker"


class Condition(StrEnum):
    """How one process is."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    """Gone with its supervisor, which could not say so."""


class Phase(StrEnum):
    """How the whole stack is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    """The supervisor was killed: `down` or the next `up` cleans up after it."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process of the stack."""

    role: Role
    name: str
    state: Condition
    process: Pid | None = None
    port: int | None = None
    url: str | None = None
    restarts: int = 0
    started_at: str | None = None


@dataclass(frozen=True, slots=True)
class StackState:
    """One stack: its processes carry `mark` in their environment; `error` and `failed` say what went wrong where."""

    phase: Phase
    home: str
    mark: str
    supervisor: Pid
    started_at: str
    database_url: str | None = None
    broker_url: str | None = None
    error: str | None = None
    failed: str | None = None
    processes: tuple[ProcessState, ...] = field(default=())

    def of(self, role: Role) -> tuple[ProcessState, ...]:
        """Return the processes of one role, in the order they were started."""
        return tuple(process for process in self.processes if process.role is role)


def write(file: Path, state: StackState) -> None:
    """Replace the file."""
    write_private(file, json.dumps(asdict(state), indent=2) + "\n")


def read(file: Path) -> StackState | None:
    """Return what the file says, None when there is none; what another version wrote besides is ignored."""
    try:
        return _FORM.validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as exc:
        raise DistriQueueError(
            f"{file} cannot be read ({exc.error_count()} errors): see that no process of this stack runs, and remove it"
        ) from exc


_FORM: Final = TypeAdapter(StackState)
