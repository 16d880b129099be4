"""What a shell is offered, asked as bash asks."""

import subprocess
import sys

import pytest

from tests.servers.process import private_env

EXPECTED = [
    ("sub", ["submit"]),
    ("jobs re", ["retry"]),
    ("jobs list --status f", ["failed"]),
    ("jobs list --priority h", ["high"]),
    ("jobs list -o j", ["json"]),
    ("jobs list --filter status:ti", ["status:timeout"]),
    ("jobs list --filter sta", ["status:"]),
    ("submit cal", ["calculate"]),
    ("queues pause job.m", ["job.medium"]),
    ("jobs lo", ["logs"]),
    ("batches l", ["list"]),
    ("rate", ["rate-limits"]),
    ("rate-limits set tr", ["transform"]),
    ("schedules ru", ["run"]),
    ("schedules edit x --overlap s", ["skip"]),
    ("apikey create x --scope ad", ["admin"]),
    ("up --de", ["--detach"]),
]


@pytest.mark.parametrize(("typed", "offered"), EXPECTED)
def test_completion(typed: str, offered: list[str]) -> None:
    words = f"distriqueue {typed}"
    env = private_env(
        _DISTRIQUEUE_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
        DISTRIQUEUE_URL="http://127.0.0.1:1",
    )
    command = [sys.executable, "-m", "distriqueue.cli"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.split() == offered
    assert done.stderr == ""


def test_the_completion_script_is_shown() -> None:
    env = private_env(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    command = [sys.executable, "-m", "distriqueue.cli", "--show-completion", "bash"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert "_DISTRIQUEUE_COMPLETE=complete_bash" in done.stdout
