"""Every command does what it is for, on a whole stack of real processes; and writes JSON where it has `-o json`."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from distriqueue.core.job import new_job_id
from distriqueue.local import ports
from tests.integration.cli.conftest import Ground
from tests.servers.process import private_env
from tests.unit.cli.commands import leaves, run

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

CREATE: Final = "schedules create {new} --cron '0 0 1 1 *' --type calculate --payload '{{\"numbers\": [1, 2]}}'"
FAILED: Final = 'job = submit calculate --payload \'{{"numbers": "x"}}\' --callback-url http://127.0.0.1:9/'
ENDED: Final = "[1] jobs watch {job}"
COMPLETED: Final = ("job = submit calculate --payload '{{\"numbers\": [1, 2]}}'", "jobs watch {job}")
WAITING: Final = "job = submit calculate --schedule-at 1h"

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "init": ("init {tmp}/shop",),
    "up": ("up --detach --workers 0 --orchestrators 1 --home {tmp}/up --port {port}", "down --home {tmp}/up"),
    "down": ("down --home {tmp}/none",),
    "status": ("status",),
    "doctor": ("doctor",),
    "top": ("top --once",),
    "submit": ("submit calculate --payload '{{\"numbers\": [1, 2]}}' --wait --timeout 60s",),
    "jobs list": ("jobs list -t calculate",),
    "jobs get": (*COMPLETED, "jobs get {job}"),
    "jobs explain": (WAITING, "jobs explain {job}"),
    "jobs events": (*COMPLETED, "jobs events {job}"),
    "jobs attempts": (*COMPLETED, "jobs attempts {job}"),
    "jobs logs": (*COMPLETED, "jobs logs {job} --follow"),
    "jobs watch": (*COMPLETED, "jobs watch {job}"),
    "jobs cancel": (WAITING, "jobs cancel {job}"),
    "jobs retry": (FAILED, ENDED, "jobs retry {job}"),
    "batches list": ("batches list",),
    "batches get": ("batches get {batch} --wait",),
    "queues list": ("queues list",),
    "queues pause": ("queues pause low", "queues resume low"),
    "queues resume": ("queues resume low",),
    "rate-limits list": ("rate-limits list",),
    "rate-limits set": ("rate-limits set {new} 100 --every 1m",),
    "rate-limits remove": ("rate-limits set {new} 100", "rate-limits remove {new}"),
    "dlq list": ("dlq list",),
    "dlq replay": (FAILED, ENDED, "dlq replay --id {job} --yes"),
    "schedules list": ("schedules list",),
    "schedules get": (CREATE, "schedules get {new}"),
    "schedules create": (CREATE,),
    "schedules edit": (CREATE, "schedules edit {new} --cron '0 5 * * *'"),
    "schedules run": (CREATE, "schedules run {new} --wait --timeout 60s"),
    "schedules pause": (CREATE, "schedules pause {new}"),
    "schedules resume": (CREATE, "schedules resume {new}"),
    "schedules delete": (CREATE, "schedules delete {new} --yes"),
    "webhooks list": (FAILED, ENDED, "webhooks list {job}"),
    "webhooks replay": (FAILED, ENDED, "webhook = webhooks list {job} -o json", "webhooks replay {webhook}"),
    "workers list": ("workers list --all",),
    "workers drain": ("workers drain {silent}",),
    "cluster status": ("cluster status",),
    "cluster step-down": ("cluster step-down",),
    "apikey create": ("apikey create {new} --scope read",),
    "apikey list": ("apikey list --all",),
    "apikey revoke": ("key = apikey create {new} --scope read -o json", "apikey revoke {key}"),
    "export": ("export --type calculate",),
    "migrate": ("migrate --database-url {database}",),
    "version": ("version",),
}
"""What is run for each, in order; `name = ` keeps the id that a step prints, `[1] ` says with which exit code it ends.

The step of the command itself is run as it is, and once more for JSON.
"""
ELSEWHERE: Final = {"worker": "the worker of the project in test_stack.py"}
SILENT: Final = {"jobs logs", "jobs watch"}
"""There was nothing to say of a job that has ended."""
NO_JSON: Final = {"export"}
"""It writes JSON always, and its `-o` is a file."""


def test_the_table_has_every_command() -> None:
    assert {" ".join(path) for path, _ in leaves()} == {*COMMANDS, *ELSEWHERE}


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_it_does_what_it_is_for(
    *,
    command: str,
    as_json: bool,
    ground: Ground,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stack = ground.stack
    known = {
        "tmp": str(tmp_path),
        "batch": ground.batch,
        "silent": ground.silent,
        "new": f"n{new_job_id().hex}",
        "port": str(ports.free_block(3)),
        "database": stack.database_url,
    }
    for step in COMMANDS[command]:
        kept, line, code = _read(step)
        arguments = shlex.split(line.format(**known))
        itself = line.startswith(command)
        if itself and as_json and command not in NO_JSON:
            arguments += ["-o", "json"]
        if arguments[0] == "up":  # a supervisor that is left running is not waited for: not in this process
            ended, out, err = _apart(arguments)
        else:
            ended = run(monkeypatch, *arguments, key=ground.key, home=stack.home.path)
            out, err = capfd.readouterr()
        assert ended == code, (arguments, out, err)
        assert "Traceback" not in err
        if kept:
            known[kept] = _id(out)
        if itself:
            assert out or command in SILENT, err
            if as_json:
                assert all(isinstance(json.loads(each), dict | list) for each in _documents(out))


def _read(step: str) -> tuple[str, str, int]:
    found = re.fullmatch(r"(?:(\w+) = )?(?:\[(\d)\] )?(.*)", step)
    assert found
    return found[1] or "", found[3], int(found[2] or 0)


def _apart(arguments: list[str]) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "distriqueue.cli", *arguments]
    done = subprocess.run(command, env=private_env(), capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout, done.stderr


def _id(out: str) -> str:
    if not out.startswith(("{", "[")):
        return out.strip()
    found = json.loads(out)
    return str((found[0] if isinstance(found, list) else found)["id"])


def _documents(out: str) -> list[str]:
    """Return the JSON that was written: one document, or one a line."""
    return [out] if out.startswith(("{\n", "[\n", "[]")) else out.splitlines()
