"""docs/quickstart.md, word for word: its shell blocks in one bash, in a fresh copy of the tree.

The text says port 8080, so the shell gets a network of its own, where the machine allows that; elsewhere the ports of
the text must be free. The environment that the first command makes is laid there beforehand, out of this one: what a
network would be needed for, and a minute, is left out; all else is run as it stands.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.stack

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/quickstart.md"
PORTS: Final = range(8080, 8084)
"""Those of the text: the gateway and three orchestrators."""
MARK: Final = re.compile(r"\n@@ block (\d+) ended (\d+)\n")
SHELL_S: Final = 240


def test_the_quickstart_does_what_it_says(tmp_path: Path) -> None:
    clone = tmp_path / "distriqueue"
    _copy(clone)
    _lay_environment(clone)
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    script = "\n".join(f"{block}printf '\\n@@ block %d ended %d\\n' {n} $?" for n, block in enumerate(blocks))
    said = _run(f"{script}\n", clone, tmp_path)
    outputs: dict[str, str] = dict(zip(blocks, MARK.split(said)[0::3], strict=False))

    assert MARK.findall(said) == [(str(n), "0") for n in range(len(blocks))], said

    def output(words: str) -> str:
        [found] = [text for block, text in outputs.items() if words in block]
        return found

    started = output("./build-run.sh\n")
    assert "The stack runs" in started
    assert started.count(" ok ") >= 3, "three jobs are run through it"
    assert '"status": "pending"' in output("curl -s http://localhost:8080/api/jobs ")
    assert re.search(r'"result": 3\b', output('"average"'))
    listed = output("size=2")
    assert listed.count('"status": "completed"') == 2
    assert re.findall(r'"result": (\d+)', listed) == ["3", "15"]
    assert "stopped" in output("./build-run.sh down")
    assert re.search(r"\d+ passed", output("pytest"))
    assert "failed" not in output("pytest")
    assert "orchestrator3" in output("--worker-app")
    assert '"greeting": "Hello, Ada!"' in output("--worker-app")
    assert "exit code 1" in output("nome")
    assert "name" in output("nome").replace("nome", "")
    assert output("jobs list").count("greet") >= 2
    assert "stopped" in output("distriqueue down\n")


def test_what_the_quickstart_shows_of_the_project_is_what_init_writes(tmp_path: Path) -> None:
    [shown] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert shown in ROOT.joinpath("distriqueue/cli/project/jobs.py.txt").read_text("utf-8")


def _copy(clone: Path) -> None:
    """Copy what git knows, as a clone has it, and what it would take in."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, clone / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _lay_environment(clone: Path) -> None:
    """Make the clone's .venv as its build-run.sh would leave it, with this environment's packages and its own code."""
    made = clone / ".venv"
    venv.create(made, symlinks=True, with_pip=False)
    [packages] = made.glob("lib/python*/site-packages")
    theirs = [path for path in sys.path if path.endswith("site-packages")]
    # Read by the interpreter of the clone: its own code first, and the .pth of ours, which lead to our tree, are not.
    packages.joinpath("clone.pth").write_text("\n".join([str(clone), *theirs]) + "\n", "utf-8")
    for program, module in {"distriqueue": "distriqueue.cli", "pytest": "pytest"}.items():
        script = made / "bin" / program
        script.write_text(f'#!/bin/sh\nexec "{made}/bin/python" -m {module} "$@"\n', "utf-8")
        script.chmod(0o755)
    fingerprint = (
        'printf "%s\\n" "$1"; cksum <"$1/requirements-dev.lock"; cksum <"$1/pyproject.toml"'  # as in build-run.sh
    )
    told = subprocess.run(
        ("bash", "-c", fingerprint, "bash", str(clone)), capture_output=True, timeout=30, check=True
    ).stdout
    made.joinpath(".made-from").write_bytes(told)


def _run(script: str, clone: Path, home: Path) -> str:
    """Run it as a user would, in the clone; return all that it said."""
    shell: tuple[str, ...] = ("bash", "--noprofile", "--norc", "-c", script)
    if _may_have_a_network():
        shell = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *shell)
    elif taken := [port for port in PORTS if _is_taken(port)]:
        pytest.fail(f"the quickstart needs the ports {taken}, and no network of its own can be made here")
    env: Mapping[str, str] = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DISTRIQUEUE_", "PYTEST", "VIRTUAL_ENV"))
        },
        "HOME": str(home),
        "COLUMNS": "160",
    }
    try:
        done = subprocess.run(
            shell,
            cwd=clone,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SHELL_S,
            check=False,
        )
    finally:
        for stack in (clone, home / "shop"):
            _stop(clone, stack / ".distriqueue")
    return done.stdout


def _stop(clone: Path, home: Path) -> None:
    if home.exists():
        command = (clone / ".venv/bin/distriqueue", "down", "--home", home)
        subprocess.run(command, capture_output=True, timeout=60, check=False)


def _may_have_a_network() -> bool:
    try:
        tried = subprocess.run(("unshare", "--net", "ip", "link"), capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
