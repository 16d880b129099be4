"""What the command line says when it is used wrongly, and its exit codes: 2 for a wrong use, 1 for a failure."""

import json
import socket
import sys
from pathlib import Path

import pytest

from distriqueue import __version__
from distriqueue.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command as its console script does and return the exit code."""
    for name in ("HOME", "GATEWAY_PORT", "DATABASE_URL", "BROKER_URL", "ORCHESTRATOR_URLS"):
        monkeypatch.delenv(f"DISTRIQUEUE_{name}", raising=False)
    monkeypatch.setattr(sys, "argv", ["distriqueue", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--port", "0"], "--port"),
        (["up", "--port", "65535"], "--port 65535 leaves no room for the ports after it: choose a lower one"),
        (["up", "--workers", "-1"], "--workers"),
        (["up", "--orchestrators", "2"], "--orchestrators must be 1, 3 or 5"),
        (["up", "--database-url", "mysql://h/d"], "--database-url must be an address such as postgresql://"),
        (["up", "--broker-url", "redis://h"], "--broker-url must be an address such as amqp://"),
        (["migrate"], "DISTRIQUEUE_DATABASE_URL: Field required"),
        (["migrate", "--database-url", "mysql://h/d"], "DISTRIQUEUE_DATABASE_URL must be postgresql://"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
)
def test_wrong_use_is_said_in_a_line_and_exits_2(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors


def test_a_taken_port_is_a_failure_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(monkeypatch, "up", "--detach", "--home", str(tmp_path), "--port", str(port)) == 1
    errors = capfd.readouterr().err
    assert f"error: port {port} (gateway1) is taken by process" in errors
    assert errors.count("\n") == 1


def test_an_unreachable_database_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql://u:p@127.0.0.1:{closed.getsockname()[1]}/d"
        assert run(monkeypatch, "migrate", "--database-url", url) == 1
    assert "error: cannot reach Postgres to migrate it" in capsys.readouterr().err


def test_where_no_stack_ran_status_and_down_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "none")
    assert run(monkeypatch, "status", "--json", "--home", home) == 0
    assert json.loads(capsys.readouterr().out) == {"state": "stopped", "home": home, "processes": []}
    for command in ("status", "down"):
        assert run(monkeypatch, command, "--home", home) == 0
        assert capsys.readouterr().out == f"no stack runs in {home}\n"
    for command in ("status", "step-down"):
        assert run(monkeypatch, "cluster", command, "--home", home) == 1
        assert f"error: no stack runs in {home}: name its home by --home, or the nodes" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_cluster_that_does_not_answer_is_not_settled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert run(monkeypatch, "cluster", "status", "--orchestrators", url, "-o", "json") == 1
        said = json.loads(capsys.readouterr().out)
        assert said == {"leader": None, "settled": False, "nodes": [{"url": url, "error": "does not answer"}]}
        assert run(monkeypatch, "cluster", "step-down", "--orchestrators", url) == 1
    assert "error: no node leads: see `distriqueue cluster status`" in capsys.readouterr().err


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "version") == 0
    assert capsys.readouterr().out.strip() == __version__
