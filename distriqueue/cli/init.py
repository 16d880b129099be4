"""`distriqueue init`: a project with two handlers and a test, ready to run."""

import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from distriqueue import __version__
from distriqueue.cli.help import examples
from distriqueue.cli.options import Output, OutputOption
from distriqueue.cli.output import say, write_json
from distriqueue.core.errors import BadSetting, Conflict

app = typer.Typer(rich_markup_mode=None, add_completion=False)

FILES: Final = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "gitignore": ".gitignore",
    "package.py": "{package}/__init__.py",
    "jobs.py": "{package}/jobs.py",
    "test_jobs.py": "tests/test_jobs.py",
}
"""Templates in `project/`, each with `.txt` at its end, and what becomes of them."""
OURS: Final = frozenset({"distriqueue", "gateway", "orchestrator", "workers", "tests"})


@app.command(epilog=examples("distriqueue init shop", "distriqueue init work/thumbnails -o json"))
def init(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Its directory; the package gets its last part's name.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a project with two handlers and a test, ready to run."""
    package = package_of(name)
    if name.exists() and (not name.is_dir() or any(name.iterdir())):
        raise Conflict(f"{name} exists and is not empty: choose another name, or empty it first")
    values = {"name": name.absolute().name, "package": package, "version": __version__}
    try:
        written = [_write(name, source, target.format(package=package), values) for source, target in FILES.items()]
    except OSError as exc:
        raise BadSetting(f"cannot write {exc.filename or name} ({exc.strerror})") from exc
    if output is Output.JSON:
        write_json({"project": str(name), "package": package, "files": written})
        return
    say(f"made {name}: {', '.join(written)}")
    steps = {
        "pytest": "test it",
        "distriqueue up --detach --workers 0": "start a stack without workers",
        f"distriqueue worker {package}.jobs:registry --reload": "run your handlers",
        'distriqueue submit greet --payload \'{"name": "Ada"}\' --wait': "in another terminal",
    }
    width = max(map(len, steps))
    say("\n".join([f"\nnow, in {name}:", *(f"  {step:{width}}  # {why}" for step, why in steps.items())]))


def package_of(name: Path) -> str:
    """Return the name of the package; BadSetting when it would be none, or hide another one."""
    last = name.absolute().name
    package = re.sub(r"[^0-9a-z_]+", "_", last.lower()).strip("_")
    if not package.isidentifier() or keyword.iskeyword(package):
        raise BadSetting(f"NAME must begin with a letter and hold letters, digits, - and _, such as shop, not {last!r}")
    if package in OURS or package in sys.stdlib_module_names:
        raise BadSetting(f"a package {package!r} would hide the one of that name: choose another NAME")
    return package


def _write(root: Path, source: str, target: str, values: dict[str, str]) -> str:
    template = files("distriqueue.cli").joinpath("project", f"{source}.txt").read_text(encoding="utf-8")
    file = root / target
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(Template(template).substitute(values), encoding="utf-8")
    return target
