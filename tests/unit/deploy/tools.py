"""The linters of this folder, from the environment that the tests run in."""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
RUN_S: Final = 60.0


def run(tool: str, *arguments: str) -> str:
    """Run a tool at the project's root and return what it prints; AssertionError with its complaint."""
    program = Path(sys.executable).with_name(tool)
    assert program.is_file(), f"{tool} is not installed: it is one of the locked development dependencies"
    return checked(str(program), *arguments)


def checked(*command: str) -> str:
    """Run a command at the project's root and return what it prints; AssertionError with its complaint."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout
