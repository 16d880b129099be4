"""`distriqueue init`: the project that it makes passes its own test."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.commands import run


def test_the_project_passes_its_own_test_in_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "My-Shop"
    assert run(monkeypatch, "init", str(project)) == 0
    assert "distriqueue worker my_shop.jobs:registry --reload" in capsys.readouterr().out
    files = sorted(str(each.relative_to(project)) for each in project.rglob("*") if each.is_file())
    assert files == [
        ".gitignore",
        "README.md",
        "my_shop/__init__.py",
        "my_shop/jobs.py",
        "pyproject.toml",
        "tests/test_jobs.py",
    ]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_what_is_there_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine").touch()
    assert run(monkeypatch, "init", str(tmp_path / "shop")) == 6
    assert "exists and is not empty: choose another name" in capsys.readouterr().err
    assert [each.name for each in (tmp_path / "shop").iterdir()] == ["mine"]
    (tmp_path / "file").touch()
    assert run(monkeypatch, "init", str(tmp_path / "file" / "shop")) == 2
    assert "error: cannot write" in capsys.readouterr().err
