"""`distriqueue init`: the project that it makes passes its own test."""

import re
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Final

import pytest

from tests.servers.process import private_env
from tests.unit.cli.commands import run

ROOT: Final = Path(__file__).parents[3]


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
    commands = re.findall(r"```bash\n(.*?)```", (project / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert commands[0] == "pytest\n"
    env = private_env(PATH=f"{environment(tmp_path / 'venv')}:/usr/bin:/bin")
    done = subprocess.run(
        commands[0], shell=True, cwd=project, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def environment(where: Path) -> Path:
    """Make an environment as `pip install distriqueue pytest` would, of what is installed here; return its programs."""
    venv.create(where, with_pip=False)
    [packages] = where.glob("lib/python*/site-packages")
    packages.joinpath("installed.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    program = where / "bin" / "pytest"
    program.write_text(
        f"#!{where}/bin/python\nimport pytest\nraise SystemExit(pytest.console_main())\n", encoding="utf-8"
    )
    program.chmod(0o755)
    return program.parent


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
