"""A program that starts again when its source changes: for development.

Files are looked at again and again, as no part of the standard library tells of changes on every system.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from distriqueue.cli.exits import Exit

LOOK_S: Final = 0.3
DRAIN_S: Final = 60.0
"""Longer than a worker takes to drain by itself."""
SKIPPED: Final = frozenset({"__pycache__", "node_modules", ".git", ".venv", "venv", ".distriqueue"})
MAX_FILES: Final = 20_000

Stamps = dict[str, tuple[int, int]]


def run(command: Sequence[str], env: Mapping[str, str], root: Path, *, announce: Callable[[str], None]) -> int:
    """Run the program until Ctrl-C or SIGTERM, each time anew after a change; return the exit code.

    A program that ends by itself, as one with a syntax error, is started again by the next change.
    """
    asked: list[int] = []

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        asked.append(signum)

    former = {signum: signal.signal(signum, on_signal) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        announce(f"watching the .py files in {root}")
        while not asked:
            before = stamps(root)
            process = subprocess.Popen(command, env=dict(env), process_group=0)  # noqa: S603 -- no shell, and our own program
            try:
                changed = _until_change(process, root, before, asked, announce)
            finally:
                _end(process, announce)
            if changed:
                announce(f"{changed} changed: starting again")
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
    return Exit.OK


def stamps(root: Path) -> Stamps:
    """Return when each source file was changed last, and its size."""
    found: Stamps = {}
    for path in _sources(root):
        try:
            status = path.stat()
        except OSError:
            continue  # gone since it was listed
        found[str(path)] = (status.st_mtime_ns, status.st_size)
        if len(found) >= MAX_FILES:
            break
    return found


def _sources(root: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(root):
        directories[:] = sorted(name for name in directories if name not in SKIPPED)
        yield from (Path(directory, name) for name in files if name.endswith(".py"))


def _until_change(
    process: "subprocess.Popen[bytes]", root: Path, before: Stamps, asked: list[int], announce: Callable[[str], None]
) -> str | None:
    """Return the file that has changed; None when a signal came first."""
    told = False
    while not asked:
        time.sleep(LOOK_S)
        after = stamps(root)
        changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
        if changed:
            return os.path.relpath(min(changed), root)
        if process.poll() is not None and not told:
            told = True
            announce(f"it ended with exit code {process.returncode}: waiting for a change")
    return None


def _end(process: "subprocess.Popen[bytes]", announce: Callable[[str], None]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(DRAIN_S)
    except subprocess.TimeoutExpired:
        announce(f"it did not end within {DRAIN_S:g} s: killed")
        process.kill()
        process.wait()
