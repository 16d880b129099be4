"""The command line as its console script runs it, in this process; and all its commands."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from distriqueue.cli import main
from distriqueue.cli.app import COMMANDS, app, load

SETTINGS = ("HOME", "URL", "GATEWAY_PORT", "DATABASE_URL", "BROKER_URL", "API_KEY", "ORCHESTRATOR_URLS", "GATEWAY_URL")


def run(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    key: str | None = None,
    home: Path | None = None,
    url: str | None = None,
) -> int:
    """Run a command, told by its environment what is given here, and return its exit code."""
    for name in SETTINGS:
        monkeypatch.delenv(f"DISTRIQUEUE_{name}", raising=False)
    for name, value in (("API_KEY", key), ("HOME", home), ("URL", url)):
        if value is not None:
            monkeypatch.setenv(f"DISTRIQUEUE_{name}", str(value))
    monkeypatch.setattr(sys, "argv", ["distriqueue", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return int(code) if isinstance(code, int) else 0


def tree() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and group with its path, the root first."""
    yield (), typer.main.get_command(app)
    for name in COMMANDS:
        yield from _below((name,), load(name))


def leaves() -> list[tuple[tuple[str, ...], Any]]:
    """Return the commands that do something."""
    return [(path, command) for path, command in tree() if not isinstance(command, TyperGroup)]


def examples_of(command: Any) -> list[str]:
    """Return the examples at the end of its help."""
    _, _, lines = (command.epilog or "").partition("Examples:\n")
    return [line.strip() for line in lines.partition("\n\n")[0].splitlines()]


def arguments_of(example: str) -> list[str]:
    """Return what follows `distriqueue` in an example, up to a pipe; what is before it does not count."""
    words = shlex.split(example)
    words = words[words.index("distriqueue") + 1 :]
    return words[: words.index("|")] if "|" in words else words


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from _below((*path, name), each)
