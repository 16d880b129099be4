"""`schedules list|get|create|edit|run|pause|resume|delete`: jobs by cron."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import typer
from rich.text import Text

from distriqueue.cli import completion
from distriqueue.cli.arguments import payload_of, seconds_of
from distriqueue.cli.bulk import confirm
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.home import gateway as gateway_of
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption, YesOption
from distriqueue.cli.output import Cell, ago, compact, fields, say, show, table, write_json
from distriqueue.cli.submitted import (
    PATIENCE_S,
    IdempotencyKeyOption,
    TimeoutOption,
    WaitOption,
    finish,
    wait_of,
)
from distriqueue.core.errors import BadSetting
from distriqueue.core.job import MAX_RETRIES_BOUND, Priority
from distriqueue.sdk.transport import IDEMPOTENCY_KEY, new_idempotency_key

app = group("Jobs by cron: when they fire, running one now, pausing them.", "schedules", "distriqueue schedules list")

MAX_LISTED: Final = 10_000
MISSING: Final = "`distriqueue schedules list` shows their names"
CRON: Final = typer.Option(metavar="'30 4 * * *'", help="Minute, hour, day, month, day of the week.")
TYPE: Final = typer.Option("--type", "-t", autocompletion=completion.job_types, help="Of the jobs it makes.")
ZONE: Final = typer.Option(help="An IANA name, such as Europe/Berlin.")
PAYLOAD: Final = typer.Option(metavar="JSON|@FILE|-", help="What each job's handler gets: an object.")
PRIORITY: Final = typer.Option("--priority", "-p", case_sensitive=False, help="Of the jobs it makes.")
RETRIES: Final = typer.Option(min=0, max=MAX_RETRIES_BOUND, help="How often a failed attempt is tried again.")
EXECUTION_TIMEOUT: Final = typer.Option(metavar="5m", help="How long one attempt may run.")
OVERLAP: Final = typer.Option(help="skip: no job while that of an earlier fire is not over.")
GRACE: Final = typer.Option(metavar="60s", help="How late a fire may be; of later ones only the newest is made up for.")
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=completion.schedules, help="As `schedules list` shows it.")
]


@app.command("list", epilog=examples("distriqueue schedules list", "distriqueue schedules list -o json"))
def list_schedules(home: HomeOption = DEFAULT_HOME, url: UrlOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show the schedules and when each fires next."""
    with Gateway.of(home, url) as gateway:
        pages = gateway.pages("/schedules", {"fires": 1}, limit=MAX_LISTED)
        found = [each for page in pages for each in page["content"]]
    if output is Output.JSON:
        write_json(found)
        return
    if not found:
        say("there are no schedules: `distriqueue schedules create` makes one")
        return
    at = datetime.now(UTC)
    headings = ("NAME", "CRON", "TIME ZONE", "TYPE", "STATE", "NEXT", "LAST", "FIRED", "MISSED")
    show(table(headings, (_row(each, at) for each in found), right=("FIRED", "MISSED")))


@app.command(
    epilog=examples("distriqueue schedules get nightly", "distriqueue schedules get nightly --fires 10 -o json")
)
def get(
    name: NameArgument,
    *,
    fires: Annotated[int, typer.Option(min=0, max=50, help="How many of the next fire times to show.")] = 5,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a schedule and its next fire times."""
    with Gateway.of(home, url) as gateway:
        _say(gateway.call("GET", _path(name), query={"fires": fires}, missing=MISSING), output)


@app.command(
    epilog=examples(
        "distriqueue schedules create nightly --cron '30 4 * * *' --type calculate --payload '{\"numbers\": [1]}'",
        "distriqueue schedules create report --cron '0 9 * * mon' --timezone Europe/Berlin --type report",
    )
)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Unique; without slashes.")],
    *,
    cron: Annotated[str, CRON],
    type_: Annotated[str, TYPE],
    timezone: Annotated[str, ZONE] = "UTC",
    payload: Annotated[str | None, PAYLOAD] = None,
    priority: Annotated[Priority, PRIORITY] = Priority.MEDIUM,
    tag: Annotated[list[str] | None, typer.Option(help="A label to filter by; several if given again.")] = None,
    max_retries: Annotated[int | None, RETRIES] = None,
    execution_timeout: Annotated[str | None, EXECUTION_TIMEOUT] = None,
    overlap: Annotated[Literal["allow", "skip"], OVERLAP] = "allow",
    misfire_grace: Annotated[str | None, GRACE] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Do not fire until it is resumed.")] = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a schedule: a job of a type at each time that a cron expression names."""
    body = _given(
        name=name,
        cron=cron,
        timezone=timezone,
        type=type_,
        payload=payload_of(payload),
        priority=priority.value,
        tags=tag,
        maxRetries=max_retries,
        executionTimeout=seconds_of(execution_timeout, "--execution-timeout"),
        overlap=overlap,
        misfireGrace=seconds_of(misfire_grace, "--misfire-grace"),
        paused=paused,
    )
    with Gateway.of(home, url, takes="operate") as gateway:
        _say(gateway.call("POST", "/schedules", body=body), output)


@app.command(
    epilog=examples(
        "distriqueue schedules edit nightly --cron '0 5 * * *'",
        "distriqueue schedules edit nightly --payload @numbers.json --priority low --tag night",
    )
)
def edit(
    name: NameArgument,
    *,
    cron: Annotated[str | None, CRON] = None,
    timezone: Annotated[str | None, ZONE] = None,
    type_: Annotated[str | None, TYPE] = None,
    payload: Annotated[str | None, PAYLOAD] = None,
    priority: Annotated[Priority | None, PRIORITY] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="In place of those it has; several if given again, none if it is ''.")
    ] = None,
    max_retries: Annotated[int | None, RETRIES] = None,
    execution_timeout: Annotated[str | None, EXECUTION_TIMEOUT] = None,
    overlap: Annotated[Literal["allow", "skip"] | None, OVERLAP] = None,
    misfire_grace: Annotated[str | None, GRACE] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change what is given, and leave the rest; the jobs that it has made stay as they are."""
    change = _given(
        cron=cron,
        timezone=timezone,
        type=type_,
        payload=None if payload is None else payload_of(payload),
        priority=None if priority is None else priority.value,
        tags=None if tag is None else [each for each in tag if each],
        maxRetries=max_retries,
        executionTimeout=seconds_of(execution_timeout, "--execution-timeout"),
        overlap=overlap,
        misfireGrace=seconds_of(misfire_grace, "--misfire-grace"),
    )
    if not change:
        raise BadSetting("say what is to be otherwise: --cron, --timezone, --type, --payload, …, as `create` has them")
    with Gateway.of(home, url, takes="operate") as gateway:
        _say(gateway.call("PATCH", _path(name), body=change, missing=MISSING), output)


@app.command(
    epilog=examples(
        "distriqueue schedules run nightly",
        "distriqueue schedules run nightly --wait --timeout 5m",
        "distriqueue schedules run nightly --idempotency-key nightly-2030-01-31",
    )
)
def run(
    name: NameArgument,
    *,
    idempotency_key: IdempotencyKeyOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make one job of a schedule now, paused or not; print its id, with --wait its result. It fires as before."""
    timeout_s = wait_of(wait, timeout)
    callee = gateway_of(home, url)
    key = {IDEMPOTENCY_KEY: idempotency_key or new_idempotency_key()}
    with Gateway(callee, takes="operate", patience_s=PATIENCE_S) as gateway:
        answer = gateway.ask("POST", f"{_path(name)}/run", headers=key, missing=MISSING)
    finish(callee, answer, wait=wait, timeout_s=timeout_s, output=output)


@app.command(epilog=examples("distriqueue schedules pause nightly"))
def pause(
    name: NameArgument, home: HomeOption = DEFAULT_HOME, url: UrlOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Let a schedule fire no more until it is resumed."""
    _change(name, {"paused": True}, home, url, output)


@app.command(epilog=examples("distriqueue schedules resume nightly"))
def resume(
    name: NameArgument, home: HomeOption = DEFAULT_HOME, url: UrlOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Let a schedule fire again, from now on; what it missed is not made up for."""
    _change(name, {"paused": False}, home, url, output)


@app.command(epilog=examples("distriqueue schedules delete nightly --yes"))
def delete(
    name: NameArgument,
    *,
    yes: YesOption = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Forget a schedule; the jobs that it has made stay."""
    with Gateway.of(home, url, takes="operate") as gateway:
        if not yes:
            gateway.call("GET", _path(name), query={"fires": 0}, missing=MISSING)
            confirm(f"the schedule {name!r} would be deleted", instead="--yes")
        gateway.call("DELETE", _path(name), missing=MISSING)
    if output is Output.JSON:
        write_json({"name": name, "deleted": True})
    else:
        say(f"schedule {name!r} is deleted")


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _change(name: str, change: dict[str, Any], home: Path, url: str | None, output: Output) -> None:
    with Gateway.of(home, url, takes="operate") as gateway:
        schedule = gateway.call("PATCH", _path(name), body=change, missing=MISSING)
    if output is Output.JSON:
        write_json(schedule)
    else:
        following = schedule["nextFires"]
        say(f"schedule {name!r} {'is paused' if schedule['paused'] else f'fires next {ago(following[0])}'}")


def _say(schedule: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        write_json(schedule)
        return
    pairs: list[tuple[str, Cell]] = [
        ("name", schedule["name"]),
        ("cron", f"{schedule['cron']} ({schedule['timezone']})"),
        ("type", schedule["type"]),
        ("priority", schedule["priority"].lower()),
        ("payload", compact(schedule["payload"])),
        ("tags", ", ".join(schedule["tags"])),
        ("overlap", schedule["overlap"]),
        ("state", _state(schedule)),
        ("error", schedule["error"]),
        ("next", "\n".join(f"{each} ({ago(each)})" for each in schedule["nextFires"])),
        ("last", schedule["lastFire"] and f"{schedule['lastFire']}, job {schedule['lastJobId'] or '-'}"),
        ("fired", schedule["fired"]),
        ("missed", schedule["missed"]),
        ("overlapped", schedule["overlapped"]),
    ]
    show(fields(pairs))


def _row(schedule: dict[str, Any], at: datetime) -> tuple[Cell, ...]:
    following = schedule["nextFires"]
    return (
        schedule["name"],
        schedule["cron"],
        schedule["timezone"],
        schedule["type"],
        _state(schedule),
        ago(following[0], at) if following else None,
        ago(schedule["lastFire"], at),
        schedule["fired"],
        schedule["missed"],
    )


def _state(schedule: dict[str, Any]) -> Text:
    if schedule["error"]:
        return Text("broken", style="red")
    return Text("paused", style="yellow") if schedule["paused"] else Text("on", style="green")


def _path(name: str) -> str:
    return f"/schedules/{quote(name, safe='')}"
