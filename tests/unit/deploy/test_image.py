"""The Dockerfile, and what the image is made from."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.unit.deploy.tools import ROOT, run

DOCKERFILE: Final = (ROOT / "Dockerfile").read_text("utf-8")
COMMAND: Final = ROOT / "deploy/docker/command"


def test_hadolint_has_nothing_to_say() -> None:
    assert run("hadolint", "Dockerfile") == ""


def test_the_build_lock_has_the_lines_of_the_development_lock() -> None:
    """The wheel is built by the same tools, checked by the same hashes, as the tests run with."""
    ours, theirs = (_pins(ROOT / name) for name in ("deploy/docker/requirements-build.lock", "requirements-dev.lock"))
    assert "hatchling" in ours
    assert ours == {name: theirs[name] for name in ours}


def test_what_the_image_copies_is_in_the_build_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copies).split():
        assert (ROOT / source).exists()
        assert any(line.startswith("!") and f"{source}/".startswith(line[1:].rstrip("/") + "/") for line in ignored), (
            source
        )


def test_everything_is_in_exec_form_and_runs_as_a_number_that_is_not_root() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^CMD (.+)$", last, re.MULTILINE) == ['["gateway"]']
    assert re.search(r'^HEALTHCHECK .* CMD \["healthy"\]$', last, re.MULTILINE)
    assert "curl" not in last


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("gateway", "python -P -m gateway"),
        ("orchestrator", "python -P -m orchestrator"),
        ("worker", "python -m workers shop:registry"),
        ("migrate", "distriqueue migrate"),
        ("healthy", "python -I -S"),
    ],
)
def test_a_command_becomes_its_program(tmp_path: Path, name: str, becomes: str) -> None:
    """And a setting may be in a file."""
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:it's $(not) `run`@db/x\n", encoding="utf-8")
    arguments = ["shop:registry"] if name == "worker" else []
    done = _command(tmp_path, name, *arguments, DISTRIQUEUE_DATABASE_URL_FILE=str(secret))
    said, url = done.stdout.splitlines()
    assert said.startswith(becomes)
    assert url == "postgresql://u:it's $(not) `run`@db/x"


def test_a_secret_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    done = _command(tmp_path, "gateway", DISTRIQUEUE_DATABASE_URL_FILE=str(tmp_path / "none"))
    assert done.returncode == 2
    assert "none" in done.stderr


def _command(folder: Path, name: str, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run one of the image's commands beside programs that say how they were called."""
    for program in ("python", "distriqueue"):
        file = folder / program
        file.write_text('#!/bin/sh\necho "${0##*/} $*"\nprintf "%s\\n" "$DISTRIQUEUE_DATABASE_URL"\n', encoding="utf-8")
        file.chmod(0o755)
    called = folder / name
    called.symlink_to(COMMAND)
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        [called, *arguments], env={"PATH": path, **env}, capture_output=True, text=True, timeout=10, check=False
    )


def _pins(lock: Path) -> dict[str, str]:
    """Return each pinned package with its version and hashes, without comments."""
    text = "\n".join(line for line in lock.read_text("utf-8").splitlines() if not line.strip().startswith("#"))
    return {block.partition("==")[0]: block.strip() for block in re.split(r"\n(?=\w)", text) if "==" in block}
