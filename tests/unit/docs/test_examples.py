"""The Python that the pages show as whole files does what it is said to do."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import distriqueue
from distriqueue.testing import LocalClient

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
TAB = re.compile(r"^=== \"(?P<title>[^\"]+)\"\n(?P<body>(?:(?: {4}.*)?\n)+)", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("page", "printed"), [("celery", "240"), ("rq", "{'width': 80}")])
def test_what_others_are_replaced_by_gives_the_result(
    page: str, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks, shop = _ours(page)
    module = _module("tasks", tasks)
    monkeypatch.setitem(sys.modules, "tasks", module)
    monkeypatch.setattr(distriqueue, "Client", lambda: LocalClient(module.registry))
    _module("shop", shop)
    assert capsys.readouterr().out == f"{printed}\n"


def test_the_handler_for_ruby_takes_what_ruby_sends() -> None:
    [tasks] = _ours("sidekiq")
    client = LocalClient(_module("tasks", tasks).registry)
    assert client.submit("resize", {"url": "https://example.org/a.png", "width": 80}).result() == {"width": 80}


def test_the_file_of_the_guide_to_tests_passes(tmp_path: Path) -> None:
    [text] = PYTHON.findall(DOCS.joinpath("guides/testing.md").read_text("utf-8"))
    tmp_path.joinpath("test_guide.py").write_text(text, "utf-8")
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_python_that_is_shown_is_python(page: str) -> None:
    text = DOCS.joinpath(page).read_text("utf-8")
    if page == "reference/python.md":
        return  # signatures
    for block in PYTHON.findall(textwrap.dedent(text)) + [block for _, block in _in_tabs(text)]:
        compile(block, page, "exec", flags=_TOP_LEVEL_AWAIT)


_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def _ours(page: str) -> list[str]:
    text = DOCS.joinpath(f"coming-from/{page}.md").read_text("utf-8")
    return [block for title, block in _in_tabs(text) if title.startswith("DistriQueue")]


def _in_tabs(text: str) -> Iterator[tuple[str, str]]:
    for tab in TAB.finditer(text):
        for block in PYTHON.findall(textwrap.dedent(tab["body"])):
            yield tab["title"], block


def _module(name: str, source: str) -> ModuleType:
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(source, name, "exec"), module.__dict__)
    finally:
        del sys.modules[name]
    return module
