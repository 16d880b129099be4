"""The likeliest mistakes with each command, three at least: what is said, what to do is in it, and the exit code.

Of those that call a gateway two are the same: it does not answer, and it wants an API key.
"""

import shlex
from pathlib import Path
from typing import Final

import pytest

from tests.integration.cli.conftest import Ground
from tests.unit.cli.commands import leaves, run

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

Mistake = tuple[str, int, str]
"""What is typed behind the command, the exit code, and what is said."""

NO_JOB: Final = "0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10"
NO_UUID: Final = "'7' is no id of a job, which is a UUID: `distriqueue jobs list` shows them"
UNKNOWN_JOB: Final = f"there is no job {NO_JOB}: `distriqueue jobs list` shows the newest"
UNKNOWN_SCHEDULE: Final = "there is no schedule named 'x': `distriqueue schedules list` shows their names"
NO_DATABASE: Final = "--database-url postgresql://u:p@127.0.0.1:1/d"
NO_ANSWER: Final = "start Postgres, or name another by --database-url; `distriqueue doctor` looks for what is wrong"
NO_STACK: Final = "no stack runs in {tmp}: name its home by --home"
NO_SCHEMA: Final = "is not at this version's schema: run `distriqueue migrate` first"

CALLS: Final[dict[str, tuple[str, str, list[Mistake]]]] = {
    "top": ("--once", "read", [("--interval 0", 2, "--interval")]),
    "submit": (
        "calculate",
        "submit",
        [
            ("", 2, "Missing argument 'TYPE'"),
            ("calculate --payload {{a}}", 2, "--payload: no JSON: Expecting property name enclosed in double quotes"),
            ("calculate --payload @/no.json", 2, "--payload: cannot read /no.json (No such file or directory)"),
            ("calculate --schedule-at soon", 2, "--schedule-at must be a time with its offset, such as 2030-01-31T12:"),
            ("calculate --depends-on {no_job}", 2, "dependsOn: there is no job"),
        ],
    ),
    "jobs list": (
        "",
        "read",
        [
            ("-f staus:failed", 2, "there is no field 'staus': did you mean status:?"),
            ("-s done", 2, "there is no status 'done': there are scheduled, blocked,"),
            ("failed", 2, "Got unexpected extra argument"),
        ],
    ),
    "jobs get": ("{no_job}", "read", [("7", 2, NO_UUID), ("{no_job}", 5, UNKNOWN_JOB)]),
    "jobs explain": ("{no_job}", "read", [("7", 2, NO_UUID), ("{no_job}", 5, UNKNOWN_JOB)]),
    "jobs events": ("{no_job}", "read", [("7", 2, NO_UUID), ("{no_job}", 5, UNKNOWN_JOB)]),
    "jobs attempts": ("{no_job}", "read", [("7", 2, NO_UUID), ("{no_job}", 5, UNKNOWN_JOB)]),
    "jobs logs": (
        "{no_job} --follow",
        "read",
        [("7", 2, NO_UUID), ("{no_job}", 5, UNKNOWN_JOB), ("{no_job} --follow", 5, UNKNOWN_JOB)],
    ),
    "jobs watch": (
        "{no_job}",
        "read",
        [
            ("7", 2, NO_UUID),
            ("{no_job}", 5, UNKNOWN_JOB),
            ("-f tag:x", 2, "the live stream can be filtered by status, type, batch only, not by tag:x"),
        ],
    ),
    "jobs cancel": (
        "{no_job}",
        "operate",
        [
            ("", 2, 'say which jobs: by their ids, by --filter "status:failed", or all of them by --all'),
            ("{no_job}", 5, UNKNOWN_JOB),
            ("{completed}", 6, "cannot cancel the job"),
            ("--filter tag:none", 0, "0 jobs cancelled"),
        ],
    ),
    "jobs retry": (
        "{no_job}",
        "operate",
        [
            ("", 2, "say which jobs"),
            ("{no_job}", 5, UNKNOWN_JOB),
            ("{completed}", 6, "it is completed"),
            ("--filter status:completed --dry-run", 0, "0 jobs would be retried"),
        ],
    ),
    "batches list": ("", "read", [("--limit 0", 2, "--limit")]),
    "batches get": (
        "{no_job}",
        "read",
        [
            ("7", 2, "'7' is no id of a batch, which is a UUID: `distriqueue batches list` shows them"),
            ("{no_job}", 5, "there is no batch {no_job}: `distriqueue batches list` shows the newest"),
            ("{no_job} --timeout 5s", 2, "--timeout is how long to --wait: give both"),
        ],
    ),
    "queues list": ("", "read", [("low", 2, "Got unexpected extra argument")]),
    "queues pause": (
        "low",
        "operate",
        [("", 2, "Missing argument 'QUEUE'"), ("urgent", 5, "there are job.critical, job.high, job.medium, job.low")],
    ),
    "queues resume": (
        "low",
        "operate",
        [("", 2, "Missing argument 'QUEUE'"), ("urgent", 5, "there are job.critical, job.high, job.medium, job.low")],
    ),
    "rate-limits list": ("", "read", [("calculate", 2, "Got unexpected extra argument")]),
    "rate-limits set": (
        "calculate 5",
        "operate",
        [
            ("calculate", 2, "Missing argument 'STARTS'"),
            ("calculate 0", 2, "'STARTS': Input should be greater than or equal to 1"),
            ("calculate 5 --every 2d", 2, "--every is at most a day, not '2d'"),
        ],
    ),
    "rate-limits remove": (
        "calculate",
        "operate",
        [("", 2, "Missing argument 'TYPE'"), ("none", 5, "`distriqueue rate-limits list` shows them")],
    ),
    "dlq list": ("", "read", [("--from x", 2, "--from must be a time with its offset, such as 2030-01-31T12:00:00Z")]),
    "dlq replay": (
        "--type none",
        "operate",
        [
            ("", 2, "say which: by FINGERPRINT (`distriqueue dlq list` shows them), --type, or --id"),
            ("xyz --yes", 2, "fingerprint"),
            ("--id 7", 2, NO_UUID),
        ],
    ),
    "schedules list": ("", "read", [("x", 2, "Got unexpected extra argument")]),
    "schedules get": ("x", "read", [("", 2, "Missing argument 'NAME'"), ("x", 5, UNKNOWN_SCHEDULE)]),
    "schedules create": (
        "x --cron '* * * * *' --type a",
        "operate",
        [
            ("x --cron '* * * * *'", 2, "Missing option '--type'"),
            ("x --cron '* * * *' --type a", 2, "cron"),
            ("x --cron '* * * * *' --type a --timezone Mars/Base", 2, "timezone"),
            ("a/b --cron '* * * * *' --type a", 2, "name"),
        ],
    ),
    "schedules edit": (
        "x --overlap skip",
        "operate",
        [
            ("x", 2, "say what is to be otherwise: --cron, --timezone, --type, --payload"),
            ("{schedule} --cron '61 * * * *'", 2, "cron"),
            ("x --overlap skip", 5, UNKNOWN_SCHEDULE),
        ],
    ),
    "schedules run": (
        "x",
        "operate",
        [("", 2, "Missing argument 'NAME'"), ("x", 5, UNKNOWN_SCHEDULE), ("x --timeout 5s", 2, "give both")],
    ),
    "schedules pause": ("x", "operate", [("", 2, "Missing argument 'NAME'"), ("x", 5, UNKNOWN_SCHEDULE)]),
    "schedules resume": ("x", "operate", [("", 2, "Missing argument 'NAME'"), ("x", 5, UNKNOWN_SCHEDULE)]),
    "schedules delete": (
        "x --yes",
        "operate",
        [("", 2, "Missing argument 'NAME'"), ("x", 5, UNKNOWN_SCHEDULE), ("x --yes", 5, UNKNOWN_SCHEDULE)],
    ),
    "webhooks list": (
        "{no_job}",
        "read",
        [
            ("", 2, "say whose webhooks: the id of a job, or --batch and the id of a batch"),
            ("{no_job}", 5, f"there is no job {NO_JOB}: `distriqueue jobs list` shows the newest jobs"),
        ],
    ),
    "webhooks replay": (
        "{no_job}",
        "operate",
        [
            ("7", 2, "'7' is no id of a webhook, which is a UUID: `distriqueue webhooks list JOB` shows them"),
            ("{no_job}", 5, "`distriqueue webhooks list JOB` shows them"),
        ],
    ),
    "workers list": ("", "read", [("w1", 2, "Got unexpected extra argument")]),
    "workers drain": (
        "x",
        "operate",
        [("", 2, "Missing argument 'ID'"), ("x", 5, "`distriqueue workers list` shows them; each start has an id of")],
    ),
}
"""Commands that call a gateway: a call that is right, the scope it takes, and mistakes of its own."""

OTHERS: Final[dict[str, list[Mistake]]] = {
    "init": [
        ("", 2, "Missing argument 'NAME'"),
        ("7up", 2, "NAME must begin with a letter and hold letters, digits, - and _, such as shop, not '7up'"),
        ("json", 2, "a package 'json' would hide the one of that name: choose another NAME"),
        ("{full}", 6, "exists and is not empty: choose another name, or empty it first"),
    ],
    "up": [
        ("--orchestrators 2", 2, "--orchestrators must be 1, 3 or 5"),
        ("--broker-url redis://h", 2, "--broker-url must be an address such as amqp://user:password@host:port/name"),
        ("--detach --home {tmp} --port {taken}", 1, "is taken by"),
    ],
    "down": [
        ("--home {tmp}/none", 0, "no stack runs in {tmp}/none"),
        ("shop", 2, "Got unexpected extra argument"),
        ("--hom x", 2, "No such option: --hom"),
    ],
    "status": [
        ("--home {tmp}/none", 0, "no stack runs in {tmp}/none"),
        ("shop", 2, "Got unexpected extra argument"),
        ("-o yaml", 2, "'yaml' is not one of 'table', 'json'"),
    ],
    "doctor": [
        (f"{NO_DATABASE}", 3, "start Postgres, or name another by --database-url"),
        ("--url {nobody}", 3, "`distriqueue up` starts a whole stack"),
        ("--url {gateway}", 4, "`distriqueue apikey create NAME --scope read` makes one"),
        ("--broker-url amqp://u:p@127.0.0.1:1/", 3, "start RabbitMQ, or mend the user, password or vhost in the"),
    ],
    "cluster status": [
        ("--home {tmp}", 3, f"{NO_STACK}, or the nodes by --orchestrators"),
        ("--orchestrators {nobody}", 3, "no answer"),
        ("--orchestrators localhost:8081", 2, "'localhost:8081' is no address of an orchestrator"),
        ("--orchestrators {node}", 4, "`distriqueue apikey create NAME --scope read` makes one"),
    ],
    "cluster step-down": [
        ("--home {tmp}", 3, f"{NO_STACK}, or the nodes by --orchestrators"),
        ("--orchestrators {nobody}", 3, "no node answers at {nobody}: see `distriqueue doctor`"),
        ("--home {stack} --to nobody", 6, "nobody"),
    ],
    "apikey create": [
        ("x", 2, "Missing option '--scope'"),
        ("x --scope write", 2, "'write' is not one of 'read', 'submit', 'operate', 'worker', 'admin'"),
        ("x --scope read --expires soon", 2, "--expires must be a number and s, m, h, d or w, such as 12h or 30d"),
        (f"x --scope read {NO_DATABASE}", 3, NO_ANSWER),
        ("x --scope read --home {tmp}", 3, f"{NO_STACK}, or the database by --database-url"),
        ("x --scope read --database-url {empty}", 2, NO_SCHEMA),
    ],
    "apikey list": [
        (NO_DATABASE, 3, NO_ANSWER),
        ("--home {tmp}", 3, f"{NO_STACK}, or the database by --database-url"),
        ("--database-url {empty}", 2, NO_SCHEMA),
        ("--database-url {wrong}", 2, 'database "nothing" does not exist'),
    ],
    "apikey revoke": [
        ("", 2, "Missing argument 'ID'"),
        ("x --home {stack}", 5, "there is no API key x: see `distriqueue apikey list`"),
        (f"x {NO_DATABASE}", 3, NO_ANSWER),
    ],
    "export": [
        (
            "--from yesterday --home {stack}",
            2,
            "--from must be a date or a time with its offset, such as 2030-01-31T12",
        ),
        ("--output {tmp} --home {stack}", 2, "--output {tmp} is not a file"),
        ("--output {tmp}/no/f.jsonl --home {stack}", 2, "--output: cannot write {tmp}/no/f.jsonl (No such file or dir"),
        (NO_DATABASE, 3, NO_ANSWER),
        ("--database-url {empty}", 2, NO_SCHEMA),
    ],
    "migrate": [
        ("", 2, "DISTRIQUEUE_DATABASE_URL: Field required"),
        (NO_DATABASE, 3, NO_ANSWER),
        ("--database-url mysql://h/d", 2, "DISTRIQUEUE_DATABASE_URL must be postgresql://user:password@host:port/name"),
        ("--database-url {wrong}", 2, 'DISTRIQUEUE_DATABASE_URL: Postgres refused: database "nothing" does not exist'),
    ],
    "worker": [
        ("shop", 2, "'shop' is not of the form module:registry, such as shop.jobs:registry"),
        ("--home {tmp}", 2, "and DISTRIQUEUE_BROKER_URL is not set: start one by `distriqueue up`"),
        ("shop.jobs:registry extra", 2, "Got unexpected extra argument"),
    ],
    "version": [
        ("-o yaml", 2, "'yaml' is not one of 'table', 'json'"),
        ("extra", 2, "Got unexpected extra argument"),
        ("--json", 2, "No such option: --json"),
    ],
}
"""The others."""

NOBODY: Final = "http://127.0.0.1:1"
UNREACHABLE: Final = (
    f"error: {NOBODY} does not answer ([Errno 111] Connection refused): `distriqueue up` starts a stack here, --url"
    " names another gateway, `distriqueue doctor` looks for what is wrong"
)


def mistakes() -> list[tuple[str, Mistake]]:
    """Return all, with their commands."""
    found = [(command, mistake) for command, own in OTHERS.items() for mistake in own]
    for command, (right, scope, own) in CALLS.items():
        advice = f"`distriqueue apikey create NAME --scope {scope}` makes one, DISTRIQUEUE_API_KEY passes it"
        named = [(f"{right} --url {NOBODY}", 3, UNREACHABLE), (f"{right} --url {{gateway}}", 4, advice)]
        found += [(command, mistake) for mistake in (*named, *own)]
    return found


def test_every_command_has_three() -> None:
    commands = [command for command, _ in mistakes()]
    assert {" ".join(path) for path, _ in leaves()} == set(commands)
    assert all(commands.count(command) >= 3 for command in commands)


@pytest.mark.parametrize(("command", "mistake"), mistakes(), ids=lambda part: str(part)[:60])
def test_it_is_said_what_is_wrong_and_what_to_do(
    *,
    command: str,
    mistake: Mistake,
    ground: Ground,
    empty_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    typed, code, said = mistake
    gateway = ground.stack.gateway_urls[0]
    known = {
        "no_job": NO_JOB,
        "completed": ground.completed,
        "schedule": ground.schedule,
        "tmp": str(tmp_path),
        "full": str(Path(__file__).parent),
        "stack": str(ground.stack.home.path),
        "gateway": gateway,
        "node": ground.stack.orchestrator_urls[0],
        "nobody": NOBODY,
        "taken": gateway.rpartition(":")[2],
        "empty": empty_database,
        "wrong": f"{ground.stack.database_url.rpartition('/')[0]}/nothing",
    }
    arguments = shlex.split(f"{command} {typed.format(**known)}")
    named = any(each in typed for each in ("--url", "--home", "{node}"))
    # Who is named gets no key of the home's: those calls go without one.
    home, key = (None, None) if named else (ground.stack.home.path, ground.key)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments, key=key, home=home) == code, capfd.readouterr()
    captured = capfd.readouterr()
    answer = captured.err if code in (2, 4, 5, 6) and command != "doctor" else captured.out + captured.err
    assert said.format(**known) in answer
    assert "Traceback" not in captured.err
