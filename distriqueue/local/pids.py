"""A process by its id and its birth: ids are recycled, the pair is not."""

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

MARK: Final = "DISTRIQUEUE_STACK"
"""Carried in the environment of every process of a stack: a new value for each start."""


@dataclass(frozen=True, slots=True)
class Pid:
    """One process, whoever may get its id later."""

    pid: int
    birth: str

    def alive(self) -> bool:
        """Tell whether this very process still runs; a zombie does not."""
        return birth(self.pid) == self.birth

    def send(self, signum: signal.Signals) -> bool:
        """Signal this very process; False when it is gone."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)
            return True
        return False


def own() -> Pid:
    """Return the calling process."""
    return of(os.getpid())


def of(pid: int) -> Pid:
    """Return a process by its id; one that is gone already is never alive."""
    return Pid(pid, birth(pid) or "gone")


def birth(pid: int) -> str | None:
    """Return when the process was born, None when there is none; on Linux in ticks, which no clock change moves."""
    if sys.platform != "linux":
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
        except psutil.NoSuchProcess:
            return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def with_mark(mark: str) -> tuple[Pid, ...]:
    """Return every process that carries the mark of a stack, among those that this user may look into."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.pid != os.getpid():
                found.append(of(process.pid))
    return tuple(each for each in found if each.alive())
