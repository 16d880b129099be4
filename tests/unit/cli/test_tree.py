"""All commands: their help, their examples, their options, and that none is imported before it is needed."""

import subprocess
import sys
from typing import Any

import pytest
import typer

from distriqueue.cli.app import COMMANDS, app, load
from distriqueue.cli.options import Output
from tests.unit.cli.commands import arguments_of, examples_of, leaves, tree

HEAVY = ("pydantic", "httpx", "rich", "asyncio", "sqlalchemy", "asyncpg", "psutil", "uvicorn")
WITHOUT_OUTPUT = {("export",), ("worker",)}
"""One writes JSON always, and its `--output` is a file; the other becomes another program."""


def named(commands: list[tuple[tuple[str, ...], Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("path", "command"), commands, ids=[" ".join(path) or "-" for path, _ in commands])


@named(list(tree()))
def test_every_command_has_help_with_an_example_of_itself(path: tuple[str, ...], command: Any) -> None:
    assert command.help
    found = examples_of(command)
    assert found
    for example in found:
        assert arguments_of(example)[: len(path)] == list(path), example


@named(list(tree()))
def test_every_example_is_right(path: tuple[str, ...], command: Any) -> None:
    root = typer.main.get_command(app)
    for example in examples_of(command):
        context, current, rest = root.make_context("distriqueue", arguments_of(example)), root, []
        while hasattr(current, "commands"):
            words = [*context._protected_args, *context.args]
            name, current, rest = current.resolve_command(context, words)  # type: ignore[attr-defined]
            context = current.make_context(name, rest, parent=context)
        assert context.args == [], example


@named([(path, command) for path, command in leaves() if path not in WITHOUT_OUTPUT])
def test_every_command_writes_json_for_programs(path: tuple[str, ...], command: Any) -> None:
    [output] = [each for each in command.params if "-o" in each.opts]
    assert output.opts == ["--output", "-o"]
    assert isinstance(output, typer.core.TyperOption)
    assert output.default is Output.TABLE


@named([(path, command) for path, command in tree() if len(path) == 1])
def test_the_list_of_commands_says_what_each_of_them_says(path: tuple[str, ...], command: Any) -> None:
    _, line = COMMANDS[path[0]]
    assert command.help.startswith(line.removesuffix("."))


def test_the_root_knows_its_commands_without_importing_them() -> None:
    watched = f"import sys; sys.argv = ['distriqueue', '--help']; heavy = {HEAVY!r}"
    script = (
        f"{watched}\nfrom distriqueue.cli import main\ntry:\n main()\nexcept SystemExit:\n pass\n"
        "sys.exit(','.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in COMMANDS)


def test_a_command_is_found_by_its_name_only() -> None:
    assert load("jobs").name == "jobs"
    assert load("down").name == "down"
