"""Where the lines of the processes go: the terminal, with a coloured name before each, or one file per process."""

import sys
from pathlib import Path
from typing import IO, Final, Protocol

from distriqueue.local.home import Home
from distriqueue.local.state import Role

_COLOURS: Final = {
    Role.POSTGRES: 34,
    Role.MIGRATE: 35,
    Role.GATEWAY: 32,
    Role.ORCHESTRATOR: 33,
    Role.WORKER: 36,
}
_NAME_WIDTH: Final = 13


class Lines(Protocol):
    """Takes the lines of every process."""

    def write(self, role: Role, name: str, line: str) -> None:
        """Keep or show one line."""


class TerminalLines:
    """One stream for all, each line behind the name of its process."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout
        self._colour = self._out.isatty()

    def write(self, role: Role, name: str, line: str) -> None:
        """Show the line."""
        self._put(name, _COLOURS[role], line)

    def announce(self, line: str) -> None:
        """Show a line of the supervisor's own."""
        self._put("distriqueue", 1, line)

    def _put(self, name: str, colour: int, line: str) -> None:
        prefix = f"{name:<{_NAME_WIDTH}} |"
        if self._colour:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        self._out.write(f"{prefix} {line}\n")
        self._out.flush()


class FileLines:
    """One file per process under `home/logs`, the older ones beside it as `.1`, `.2`, …"""

    def __init__(self, home: Home, *, size_bytes: int = 10_000_000, keep: int = 3) -> None:
        self._home = home
        self._size_bytes = size_bytes
        self._keep = keep
        self._files: dict[str, IO[str]] = {}

    def write(self, role: Role, name: str, line: str) -> None:  # noqa: ARG002 -- a file has no colours
        """Append the line; a file that has grown over the bound is put aside first."""
        path = self._home.log_of(name)
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _append_to(path)
        elif file.tell() > self._size_bytes:
            file.close()
            _put_aside(path, self._keep)
            file = self._files[name] = _append_to(path)
        file.write(line + "\n")
        file.flush()

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            file.close()
        self._files.clear()


class Follow:
    """Reads what is appended to a log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        """Return the whole lines that came since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()


def last_lines(path: Path, count: int = 20) -> list[str]:
    """Return the end of a log, nothing when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 64_000, 0))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _append_to(path: Path) -> IO[str]:
    return path.open("a", encoding="utf-8")


def _put_aside(path: Path, keep: int) -> None:
    for number in range(keep, 0, -1):
        older = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))
