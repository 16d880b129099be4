"""What `distriqueue doctor` finds, and what it looks at on this machine: Python, disk, the stack of the home, ports.

Each check returns what it found, and what to do about it; none raises. What is asked over a network is in `probes`.
"""

import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from distriqueue import __version__
from distriqueue.cli.exits import Exit
from distriqueue.cli.output import plural
from distriqueue.core.errors import DistriQueueError
from distriqueue.local import control, ports
from distriqueue.local.home import Home
from distriqueue.local.plan import Options
from distriqueue.local.state import Condition, Phase, StackState

FREE_NOTE_BYTES: Final = 2 * 1024**3
FREE_PROBLEM_BYTES: Final = 200 * 1024**2
OLDEST_PYTHON: Final = (3, 11)


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; the exit code stays 0."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    level: Level
    said: str
    do: str = ""
    code: Exit = Exit.OK


def ok(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(what, Level.OK, said)


def note(what: str, said: str, do: str = "") -> Finding:
    """Worth knowing."""
    return Finding(what, Level.NOTE, said, do)


def problem(what: str, said: str, do: str, code: Exit = Exit.FAILED) -> Finding:
    """Something does not work."""
    return Finding(what, Level.PROBLEM, said, do, code)


def worst(findings: Sequence[Finding]) -> Exit:
    """Return the exit code of the worst: not reachable, refused, wrong setting, failure, in this order."""
    codes = {finding.code for finding in findings}
    order = (Exit.UNREACHABLE, Exit.REFUSED, Exit.USAGE, Exit.FAILED)
    return next((code for code in order if code in codes), Exit.FAILED if codes - {Exit.OK} else Exit.OK)


def machine(home: Path) -> Iterator[Finding]:
    """Look at Python, the version and the disk."""
    here = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        yield problem("python", f"{here} is too old", f"install Python {oldest} or newer", Exit.USAGE)
    else:
        yield ok("python", f"{here} on {platform.system()} {platform.machine()}")
    yield ok("version", f"distriqueue {__version__}")
    place = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    usage = shutil.disk_usage(place)
    said = f"{usage.free / 1024**3:,.1f} GiB free at {place} ({usage.free / usage.total:.0%})"
    if usage.free < FREE_PROBLEM_BYTES:
        yield problem("disk", said, "make room: Postgres stops when its disk is full")
    elif usage.free < FREE_NOTE_BYTES:
        yield note("disk", said, "make room before it runs out")
    else:
        yield ok("disk", said)


def stack(home: Path) -> tuple[StackState | None, list[Finding]]:
    """Look at the stack of the home; return its state if it runs."""
    where = home.absolute()
    try:
        current = control.view(Home(where)) if where.is_dir() else None
    except DistriQueueError as exc:
        return None, [problem("stack", exc.message, "then `distriqueue up`")]
    if current is None or current.phase is Phase.STOPPED:
        return None, [note("stack", f"none runs in {where}", "`distriqueue up` starts one"), *_ports(where)]
    if current.phase is Phase.LOST:
        do = "`distriqueue down` cleans up, then `distriqueue up`"
        return None, [problem("stack", "its supervisor was killed", do)]
    if current.phase is Phase.FAILED:
        do = f"see {where / 'logs'}, then `distriqueue up`"
        return None, [problem("stack", f"it did not start: {current.error}", do)]
    bad = [each for each in current.processes if each.state is not Condition.RUNNING]
    restarted = [f"{each.name} {each.restarts}×" for each in current.processes if each.restarts]
    found = [
        problem("stack", f"{each.name} is {each.state}", f"see {where / 'logs' / each.name}.log") for each in bad
    ] or [ok("stack", f"{plural(len(current.processes), 'process', 'processes')} running in {where}")]
    if restarted:
        found.append(note("stack", f"started again: {', '.join(restarted)}", f"see {where / 'logs'} for why"))
    return current, found


def _ports(home: Path) -> Iterator[Finding]:
    for port, use in Options(home=str(home), orchestrators=3).wanted_ports():
        if not ports.is_free(port):
            said = f"{port} ({use}) is taken by {ports.holder(port)}"
            yield note("ports", said, "`distriqueue up --port 9090` uses others")
