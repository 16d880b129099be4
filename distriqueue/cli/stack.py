"""The embedded stack: `up`, `down`, `status`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit, urlunsplit

import typer
from rich.text import Text

from distriqueue.cli.exits import Exit
from distriqueue.cli.help import examples
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption
from distriqueue.cli.output import Cell, note, say, show, table, write_json
from distriqueue.core.errors import BadSetting, Conflict
from distriqueue.local import control
from distriqueue.local.home import Home
from distriqueue.local.logs import TerminalLines
from distriqueue.local.plan import Options
from distriqueue.local.run import run
from distriqueue.local.state import Condition, Phase, ProcessState, Role, StackState
from distriqueue.settings import PREFIX

app = typer.Typer(rich_markup_mode=None, add_completion=False)

HEADINGS: Final = ("NAME", "STATE", "PID", "PORT", "RESTARTS", "URL")
_HIGHEST_PORT: Final = 65_535
_CLUSTER_SIZES: Final = (1, 3, 5)
_DATABASE_SCHEMES: Final = ("postgresql", "postgres")
_BROKER_SCHEMES: Final = ("amqp", "amqps", *_DATABASE_SCHEMES)


@app.command(
    epilog=examples(
        "distriqueue up",
        "distriqueue up --detach --workers 4 --worker-app shop.jobs:registry",
        "distriqueue up --port 9090 --home /var/lib/distriqueue",
    )
)
def up(
    *,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Worker processes.")] = 2,
    orchestrators: Annotated[int, typer.Option(help="Orchestrator nodes: 1, 3 or 5.")] = 3,
    gateways: Annotated[int, typer.Option(min=1, max=16, help="Gateway processes.")] = 1,
    port: Annotated[
        int,
        typer.Option(
            min=1,
            max=_HIGHEST_PORT,
            envvar=f"{PREFIX}GATEWAY_PORT",
            help="Port of the gateway; orchestrators take the ports after it, further gateways those after them.",
        ),
    ] = 8080,
    database_url: Annotated[
        str | None,
        typer.Option(envvar=f"{PREFIX}DATABASE_URL", help="Use this Postgres instead of starting one."),
    ] = None,
    broker_url: Annotated[
        str | None,
        typer.Option(envvar=f"{PREFIX}BROKER_URL", help="amqp://… for RabbitMQ; else the Postgres of the jobs."),
    ] = None,
    worker_app: Annotated[
        str | None, typer.Option(metavar="MODULE:REGISTRY", help="Your handlers; the ones that ship if not given.")
    ] = None,
    worker_capacity: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Jobs that each worker runs at once (10 if not given).")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the stack is ready, and leave it.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start a whole stack on this machine: Postgres, gateway, orchestrators, workers."""
    _require_scheme("--database-url", database_url, _DATABASE_SCHEMES)
    _require_scheme("--broker-url", broker_url, _BROKER_SCHEMES)
    if orchestrators not in _CLUSTER_SIZES:
        raise BadSetting("--orchestrators must be 1, 3 or 5: an even number survives no more failures than one less")
    options = Options(
        home=str(home.absolute()),
        port=port,
        gateways=gateways,
        orchestrators=orchestrators,
        workers=workers,
        worker_capacity=worker_capacity,
        worker_app=worker_app,
        database_url=database_url,
        broker_url=broker_url,
    )
    if max(port for port, _ in options.wanted_ports()) > _HIGHEST_PORT:
        raise BadSetting(f"--port {port} leaves no room for the ports after it: choose a lower one")
    if output is Output.JSON and not detach:
        raise BadSetting("-o json is for --detach: in the foreground there are logs")
    if detach:
        control.start(options, announce=note if output is Output.JSON else say)
        _summary(home.absolute(), output)
        return
    lines = TerminalLines()
    try:
        asyncio.run(run(options, lines=lines, announce=lines.announce))
    except Conflict as exc:  # as of a detached stack: it was not started
        raise control.NotStarted(exc.message, tail=[], status=Exit.FAILED) from exc


@app.command(epilog=examples("distriqueue down", "distriqueue down --home /var/lib/distriqueue"))
def down(home: HomeOption = DEFAULT_HOME, output: OutputOption = Output.TABLE) -> None:
    """Stop the stack and wait until none of its processes is left; its data stays."""
    where = home.absolute()
    announce = note if output is Output.JSON else say
    ran = where.is_dir() and control.stop(Home.at(where), announce=announce)
    if output is Output.JSON:
        write_json({"home": str(where), "stopped": ran})
    else:
        say("stopped" if ran else f"no stack runs in {where}")


@app.command(epilog=examples("distriqueue status", "distriqueue status -o json"))
def status(
    home: HomeOption = DEFAULT_HOME,
    output: OutputOption = Output.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="As `-o json`.")] = False,
) -> None:
    """Show the processes of the stack; the exit code is 1 when a stack runs and something of it does not."""
    where = home.absolute()
    current = control.view(Home.at(where)) if where.is_dir() else None
    if as_json or output is Output.JSON:
        write_json(_as_json(where, current))
    else:
        _show(where, current)
    if current is not None and current.phase in {Phase.LOST, Phase.FAILED}:
        raise typer.Exit(Exit.FAILED)


def _require_scheme(option: str, url: str | None, schemes: tuple[str, ...]) -> None:
    if url is not None and (urlsplit(url).scheme.partition("+")[0] not in schemes or not urlsplit(url).hostname):
        raise BadSetting(f"{option} must be an address such as {schemes[0]}://user:password@host:port/name")


def _summary(home: Path, output: Output) -> None:
    current = control.view(Home.at(home))
    if current is None or current.phase is not Phase.READY:
        raise Conflict(f"the stack in {home} was stopped just after its start: see `distriqueue status`")
    if output is Output.JSON:
        write_json(_as_json(home, current))
    else:
        _show(home, current)


def _show(home: Path, current: StackState | None) -> None:
    if current is None or (current.phase is Phase.STOPPED):
        say(f"no stack runs in {home}")
        return
    say(f"stack {current.phase} in {home}")
    if current.error:
        say(f"error: {current.error}")
    show(table(HEADINGS, map(_row, current.processes)))
    gateways = current.of(Role.GATEWAY)
    if gateways and gateways[0].url:
        say(f"\ndashboard  {gateways[0].url}/      API  {gateways[0].url}/api")
    say(f"logs {home / 'logs'}")


def _row(each: ProcessState) -> tuple[Cell, ...]:
    state = Text(each.state, style="green" if each.state is Condition.RUNNING else "yellow")
    pid = str(each.process.pid) if each.process else None
    return (each.name, state, pid, str(each.port) if each.port else None, str(each.restarts), each.url)


def _as_json(home: Path, current: StackState | None) -> dict[str, Any]:
    if current is None:
        return {"state": str(Phase.STOPPED), "home": str(home), "processes": []}
    return {
        "state": str(current.phase),
        "home": current.home,
        "supervisor": current.supervisor.pid if current.supervisor.alive() else None,
        "startedAt": current.started_at,
        "databaseUrl": _without_password(current.database_url),
        "brokerUrl": _without_password(current.broker_url),
        "error": current.error,
        "processes": [_process_as_json(each) for each in current.processes],
    }


def _process_as_json(each: ProcessState) -> dict[str, Any]:
    return {
        "role": str(each.role),
        "name": each.name,
        "pid": each.process.pid if each.process else None,
        "port": each.port,
        "state": str(each.state),
        "url": each.url,
        "restarts": each.restarts,
        "startedAt": each.started_at,
    }


def _without_password(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    user = f"{parts.username}:***@" if parts.password else ""
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    return urlunsplit(parts._replace(netloc=f"{user}{host}")) if parts.password else url
