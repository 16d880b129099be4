"""Whom commands call, and by which key."""

from dataclasses import replace
from pathlib import Path

import pytest

from distriqueue.cli import home
from distriqueue.cli.exits import NoStack
from distriqueue.local import pids, state
from distriqueue.local.state import Condition, Phase, ProcessState, Role, StackState


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackState:
    """A home in which this very process passes for the supervisor."""
    monkeypatch.delenv("DISTRIQUEUE_API_KEY", raising=False)
    processes = tuple(
        ProcessState(role, f"{role}{number}", Condition.RUNNING, url=f"http://{role}{number}")
        for role in (Role.GATEWAY, Role.ORCHESTRATOR)
        for number in (1, 2)
    )
    current = StackState(
        Phase.READY, str(tmp_path), "mark", pids.own(), "now", database_url="postgresql://h/d", processes=processes
    )
    state.write(tmp_path / "state.json", current)
    (tmp_path / "operator.key").write_text("dq_operator\n", encoding="utf-8")
    return current


def test_the_stack_of_the_home_is_called_by_its_own_key(stack: StackState, tmp_path: Path) -> None:
    assert home.gateway(tmp_path, None) == home.Callee(("http://gateway1",), "dq_operator")
    assert home.orchestrators(tmp_path, None).urls == ("http://orchestrator1", "http://orchestrator2")
    assert home.database(tmp_path, None) == "postgresql://h/d"
    assert "dq_operator" not in repr(home.gateway(tmp_path, None))


def test_submitting_is_not_for_the_key_of_the_stack(stack: StackState, tmp_path: Path) -> None:
    assert home.gateway(tmp_path, None, as_operator=False).key is None


def test_whoever_is_named_does_not_get_the_key_of_the_home(stack: StackState, tmp_path: Path) -> None:
    assert home.gateway(tmp_path, "http://other") == home.Callee(("http://other",), None)
    assert home.orchestrators(tmp_path, "http://a/, http://b") == home.Callee(("http://a", "http://b"), None)
    assert home.database(tmp_path, "postgresql://other/d") == "postgresql://other/d"


def test_a_key_of_the_environment_is_preferred(
    stack: StackState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTRIQUEUE_API_KEY", "dq_mine")
    assert home.gateway(tmp_path, None).key == home.gateway(tmp_path, "http://other").key == "dq_mine"


def test_a_stack_that_is_over_is_none(stack: StackState, tmp_path: Path) -> None:
    lost = replace(stack, supervisor=pids.Pid(1, "another life"))
    for current in (replace(stack, phase=Phase.STOPPED), replace(stack, phase=Phase.FAILED), lost):
        state.write(tmp_path / "state.json", current)
        assert home.gateway(tmp_path, None) == home.Callee((), None)
        with pytest.raises(NoStack, match=r"no stack runs in .*: name its home by --home, or the nodes"):
            home.orchestrators(tmp_path, None)
        with pytest.raises(NoStack, match="or the database by --database-url"):
            home.database(tmp_path, None)
