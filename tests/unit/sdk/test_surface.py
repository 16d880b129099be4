"""One surface: both clients, both jobs, the client in memory; public names; and what importing them costs."""

import ast
import importlib.resources
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distriqueue
from distriqueue import AsyncClient, AsyncJob, Client, Job, testing
from distriqueue.sdk.submission import JobFilters, JobOptions
from distriqueue.testing import LocalClient, LocalJob


def methods(kind: type[Any]) -> dict[str, Callable[..., Any]]:
    """Return the public methods, the inherited ones too."""
    return {name: each for name, each in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def face(method: Callable[..., Any]) -> list[tuple[str, str, Any]]:
    parameters = inspect.signature(method).parameters.values()
    return [(p.name, str(p.annotation), p.default) for p in parameters]


INSIDE = {"submit_body", "map_run"}
"""What the blocking client uses of the other one."""


@pytest.mark.parametrize(
    ("blocking", "other", "of_one_only"), [(Client, AsyncClient, {"close"}), (Job, AsyncJob, set())]
)
def test_both_kinds_have_one_surface(blocking: type[Any], other: type[Any], of_one_only: set[str]) -> None:
    ours, theirs = methods(blocking), methods(other)
    assert ours.keys() - of_one_only == theirs.keys() - INSIDE
    for name in ours.keys() - of_one_only:
        assert face(ours[name]) == face(theirs[name]), name
        said = inspect.getdoc(theirs[name]) or ""
        assert (inspect.getdoc(ours[name]) or "") == said.replace("`AsyncJob.", "`Job.").replace(
            "as `list`", "as `list`"
        )
    assert face(blocking.__init__)[1:] == face(other.__init__)[1:] or blocking is Job


@pytest.mark.parametrize(("memory", "real"), [(LocalClient, Client), (LocalJob, Job)])
def test_what_is_in_memory_leaves_nothing_to_the_real_one(memory: type[Any], real: type[Any]) -> None:
    inherited_facts = {"outcome"}
    for name, method in methods(real).items():
        if name not in inherited_facts:
            assert name in vars(memory), f"{memory.__name__}.{name} would ask a gateway"
            assert [p[0] for p in face(vars(memory)[name])] == [p[0] for p in face(method)], name


def test_public_names_are_there_and_documented() -> None:
    for module in (distriqueue, testing):
        for name in module.__all__:
            found = getattr(module, name)
            assert name.startswith("__") or inspect.getdoc(found), name
            assert name in dir(module) or module is testing
    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        _ = distriqueue.Klient
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = testing.nothing


def test_every_public_method_is_documented() -> None:
    for kind in (Client, AsyncClient, Job, AsyncJob, LocalClient, LocalJob):
        for name, method in methods(kind).items():
            assert inspect.getdoc(method), f"{kind.__name__}.{name}"


def test_services_and_pytest_do_not_load_the_client() -> None:
    code = (
        "import sys, distriqueue.core.errors, distriqueue.testing.plugin\n"
        "loaded = {'httpx', 'rich', 'pydantic', 'asyncpg'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_client_loads_neither_services_nor_the_store() -> None:
    code = (
        "import sys\n"
        "from distriqueue import AsyncClient, Client\n"
        "loaded = {'fastapi', 'sqlalchemy', 'asyncpg', 'uvicorn', 'aio_pika'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_packages_are_typed() -> None:
    assert (importlib.resources.files("distriqueue") / "py.typed").is_file()


def test_the_documentation_names_what_there_is() -> None:
    text = (Path(__file__).parents[3] / "docs" / "sdk.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        tree = compile(block, "docs/sdk.md", "exec", ast.PyCF_ONLY_AST)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("distriqueue"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), block
    assert all(f"`{option}`" in text for option in JobOptions.__annotations__)
    assert all(f"`{name}`" in text for name in JobFilters.__annotations__)
    documented = {name for name in methods(Client) if name != "close"}
    assert all(re.search(rf"\b{name}\(", text) for name in documented - {"cancel", "retry"})
