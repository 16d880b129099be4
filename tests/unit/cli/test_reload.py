"""`worker --reload`: started again by a change, also after a mistake; ended by Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distriqueue.cli.reload import stamps

WATCHER = """
import sys
from pathlib import Path
from distriqueue.cli import reload

sys.exit(reload.run([sys.executable, "app.py"], {}, Path.cwd(), announce=lambda text: print(text, flush=True)))
"""
APP = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), sys.exit(0)))
print("version {}", flush=True)
signal.pause()
"""


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    (tmp_path / "app.py").write_text(APP.format(1))
    process = subprocess.Popen([sys.executable, "-c", WATCHER], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait(10)
    assert process.stdout is not None
    process.stdout.close()


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    """Return the next lines; the test's own timeout ends a wait for ones that do not come."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


@pytest.mark.timeout(30)
def test_a_change_starts_it_again_and_ctrl_c_drains_it(watcher: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert lines(watcher, 2) == [f"watching the .py files in {tmp_path}", "version 1"]
    (tmp_path / "app.py").write_text(APP.format("two"))
    assert lines(watcher, 3) == ["drained", "app.py changed: starting again", "version two"]
    (tmp_path / "app.py").write_text("syntax error")
    assert lines(watcher, 3) == [
        "drained",
        "app.py changed: starting again",
        "it ended with exit code 1: waiting for a change",
    ]
    (tmp_path / "app.py").write_text(APP.format(3))
    assert lines(watcher, 2) == ["app.py changed: starting again", "version 3"]
    watcher.send_signal(signal.SIGINT)
    assert lines(watcher, 1) == ["drained"]
    assert watcher.wait(20) == 0


def test_what_is_looked_at(tmp_path: Path) -> None:
    for name in ("a.py", "deep/b.py", ".venv/c.py", "__pycache__/d.py", "e.txt"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert sorted(os.path.relpath(path, tmp_path) for path in stamps(tmp_path)) == ["a.py", "deep/b.py"]
