"""What the command line says when it is used wrongly, or what it needs is not there; and its exit codes."""

import json
import socket
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from distriqueue import __version__
from tests.unit.cli.commands import run

JOB: Final = "0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10"


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
        (["sumbit"], "Did you mean 'submit'?"),
        (["jobs", "lst"], "Did you mean 'list'?"),
        (["jobs", "get", "7"], "'7' is no id of a job, which is a UUID: `distriqueue jobs list` shows them"),
        (["jobs", "cancel", "x"], "'x' is no id of a job"),
        (["jobs", "cancel"], 'say which jobs: by their ids, by --filter "status:failed", or all of them by --all'),
        (["jobs", "retry", JOB, "--filter", "status:failed"], "give either ids, or --filter, or --all"),
        (["jobs", "list", "-f", "staus:failed"], "there is no field 'staus': did you mean status:?"),
        (["jobs", "list", "-f", "type:a status:faild"], "  type:a status:faild\n                ^^^^^"),
        (["jobs", "list", "-f", "result.id:7"], "jobs cannot be filtered by what is in their result"),
        (["jobs", "list", "-s", "done"], "there is no status 'done': there are scheduled, blocked,"),
        (["jobs", "list", "-n", "0"], "--limit"),
        (["jobs", "list", "--url", "gateway"], "--url: DISTRIQUEUE_URL"),
        (["jobs", "watch", "-f", "tag:x"], "the live stream can be filtered by status, type, batch only, not by tag:x"),
        (["jobs", "watch", JOB, "-f", "type:x"], "give either an id, or a filter"),
        (["submit"], "Missing argument 'TYPE'"),
        (["submit", "a", "--payload", "{a}"], "--payload: no JSON: Expecting property name enclosed in double quotes"),
        (["submit", "a", "--payload", "[1]"], "--payload: must be an object such as"),
        (["submit", "a", "--payload", "@/nowhere/f.json"], "--payload: cannot read /nowhere/f.json (No such file or"),
        (["submit", "a", "--priority", "urgent"], "'urgent' is not one of 'critical', 'high', 'medium', 'low'"),
        (["submit", "a", "--schedule-at", "soon"], "--schedule-at must be a time with its offset, such as 2030"),
        (["submit", "a", "--timeout", "9"], "--timeout is how long to --wait: give both"),
        (["submit", "a", "--wait", "--timeout", "long"], "--timeout must be seconds, or a number and s, m, h, d or w"),
        (["submit", "a", "--on-conflict", "return_existing"], "--unique-key is taken: give both"),
        (["submit", "a", "--depends-on", "7"], "'7' is no id of a job"),
        (["batches", "get", "7"], "'7' is no id of a batch, which is a UUID: `distriqueue batches list` shows them"),
        (["batches", "get", JOB, "--timeout", "9"], "--timeout is how long to --wait"),
        (["dlq", "replay"], "say which: by FINGERPRINT (`distriqueue dlq list` shows them), --type, or --id"),
        (["dlq", "list", "--from", "x"], "--from must be a time with its offset, such as 2030-01-31T12:00:00Z, or how"),
        (["schedules", "create", "n", "--cron", "* * * * *"], "Missing option '--type'"),
        (["webhooks", "list"], "say whose webhooks: the id of a job, or --batch and the id of a batch"),
        (["webhooks", "replay", "7"], "'7' is no id of a webhook"),
        (["worker", "shop"], "'shop' is not of the form module:registry"),
        (["init", "7up"], "NAME must begin with a letter"),
        (["init", "workers"], "a package 'workers' would hide the one of that name"),
        (["init", "json"], "a package 'json' would hide the one of that name"),
        (["top", "--interval", "0"], "--interval"),
        (["up", "-o", "json"], "-o json is for --detach"),
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
        where = f"127.0.0.1:{closed.getsockname()[1]}/d"
        for command in (["migrate"], ["apikey", "list"], ["export"]):
            assert run(monkeypatch, *command, "--database-url", f"postgresql://u:secret@{where}") == 3
            said = capsys.readouterr().err
            assert f"error: {where}: " in said
            assert "Connect call failed" in said
            assert "start Postgres, or name another by --database-url; `distriqueue doctor` looks" in said
            assert "secret" not in said


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
        assert run(monkeypatch, "cluster", command, "--home", home) == 3
        assert f"error: no stack runs in {home}: name its home by --home, or the nodes" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_cluster_that_does_not_answer_is_not_settled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert run(monkeypatch, "cluster", "status", "--orchestrators", url, "-o", "json") == 3
        said = json.loads(capsys.readouterr().out)
        assert said == {"leader": None, "settled": False, "nodes": [{"url": url, "error": "does not answer"}]}
        assert run(monkeypatch, "cluster", "step-down", "--orchestrators", url) == 3
    assert f"error: no node answers at {url}: see `distriqueue doctor`" in capsys.readouterr().err


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "version") == 0
    assert capsys.readouterr().out.strip() == __version__


NEEDS_GATEWAY: Final = (
    ["submit", "calculate"],
    ["jobs", "list"],
    ["jobs", "get", JOB],
    ["jobs", "explain", JOB],
    ["jobs", "events", JOB],
    ["jobs", "attempts", JOB],
    ["jobs", "logs", JOB],
    ["jobs", "logs", JOB, "--follow"],
    ["jobs", "watch"],
    ["jobs", "watch", JOB],
    ["jobs", "cancel", JOB],
    ["jobs", "retry", "--filter", "status:failed", "--dry-run"],
    ["batches", "list"],
    ["batches", "get", JOB],
    ["rate-limits", "list"],
    ["rate-limits", "set", "a", "5"],
    ["rate-limits", "remove", "a"],
    ["queues", "list"],
    ["queues", "pause", "low"],
    ["queues", "resume", "low"],
    ["dlq", "list"],
    ["dlq", "replay", "--type", "a"],
    ["schedules", "list"],
    ["schedules", "get", "n"],
    ["schedules", "create", "n", "--cron", "* * * * *", "--type", "a"],
    ["schedules", "edit", "n", "--cron", "* * * * *"],
    ["schedules", "run", "n"],
    ["schedules", "pause", "n"],
    ["schedules", "resume", "n"],
    ["schedules", "delete", "n", "--yes"],
    ["webhooks", "list", JOB],
    ["webhooks", "replay", JOB],
    ["workers", "list"],
    ["workers", "drain", "w"],
    ["top", "--once"],
)


@pytest.mark.parametrize("arguments", NEEDS_GATEWAY, ids=" ".join)
def test_where_no_gateway_answers_it_says_where_and_what_to_do(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert run(monkeypatch, *arguments, "--url", url, "--home", str(tmp_path)) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: {url} does not answer ([Errno 111] Connection refused): `distriqueue up` starts a stack here" in (
        captured.err
    )
    assert "Traceback" not in captured.err


def test_a_server_that_is_no_gateway_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    with server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert run(monkeypatch, "jobs", "list", "--url", url, "--home", str(tmp_path)) == 1
        server.shutdown()
        serving.join(5)
    assert "is a DistriQueue gateway at this address?" in capsys.readouterr().err


def test_a_worker_that_has_no_broker_is_told_where_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "worker", "shop.jobs:registry", "--home", str(tmp_path)) == 2
    assert "and DISTRIQUEUE_BROKER_URL is not set: start one by `distriqueue up`" in capsys.readouterr().err
