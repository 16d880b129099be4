"""The cluster of orchestrators: `cluster status`, `cluster step-down`."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.table import Table

from distriqueue.cli.stack import DEFAULT_HOME, HomeOption
from distriqueue.core.errors import BadSetting, Conflict, DistriQueueError, NotFound, Unavailable
from distriqueue.local import control
from distriqueue.local.home import Home
from distriqueue.local.keys import OPERATOR, read_key
from distriqueue.local.state import Role
from distriqueue.settings import PREFIX, AccessSettings

app = typer.Typer(help="Who leads, and how to make another lead.", no_args_is_help=True, rich_markup_mode=None)

_ASK_S: Final = 2.0
_STEP_DOWN_S: Final = 10.0
_PIPE_WIDTH: Final = 200


class Output(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="`json` for programs.")]
UrlsOption = Annotated[
    str | None,
    typer.Option(
        "--orchestrators",
        envvar=f"{PREFIX}ORCHESTRATOR_URLS",
        help="Addresses of the nodes' APIs, separated by commas; those of the stack in the home if not given.",
    ),
]


@app.command()
def status(home: HomeOption = DEFAULT_HOME, urls: UrlsOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show each node; the exit code is 1 unless all that answer agree on one established leader."""
    nodes = _nodes(home, urls)
    said = {url: _status(url, nodes.key) for url in nodes.urls}
    leaders = {(each["leader"], each["term"], each["established"]) for each in said.values() if each}
    leader, _, established = next(iter(leaders)) if len(leaders) == 1 else (None, 0, False)
    settled = leader is not None and bool(established)
    if output is Output.JSON:
        each_said = [{"url": url} | (each or {"error": "does not answer"}) for url, each in said.items()]
        answer = {"leader": leader if settled else None, "settled": settled, "nodes": each_said}
        typer.echo(json.dumps(answer, indent=2))
    else:
        _show(said)
    if not settled:
        raise typer.Exit(control.EXIT_FAILURE)


@app.command("step-down")
def step_down(
    home: HomeOption = DEFAULT_HOME,
    urls: UrlsOption = None,
    to: Annotated[str | None, typer.Option(help="Who is to lead; the freshest node if not given.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make the leader hand over, before maintenance of its machine; nothing is lost, duties pause for a moment."""
    nodes = _nodes(home, urls)
    said = {url: each for url in nodes.urls if (each := _status(url, nodes.key))}
    url = next((url for url, each in said.items() if each["role"] == "leader"), None)
    if url is None:
        raise Conflict("no node leads: see `distriqueue cluster status`")
    order = {"to": to} if to else {}
    answer = _asked(url, "POST", "/api/cluster/step-down", key=nodes.key, timeout_s=_STEP_DOWN_S, body=order)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console(highlight=False).print(f"{answer['node']} stepped down, {answer['leader']} leads")


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Whom to ask, and with which API key."""

    urls: tuple[str, ...]
    key: str | None = field(repr=False)


def _nodes(home: Path, urls: str | None) -> _Nodes:
    given = AccessSettings.load().api_key
    key = given.get_secret_value() if given else None
    if urls:  # the home's own key is not for whoever is named here
        return _Nodes(tuple(part.strip().rstrip("/") for part in urls.split(",") if part.strip()), key)
    where = home.absolute()
    current = control.view(Home.at(where)) if where.is_dir() else None
    found = tuple(each.url for each in current.of(Role.ORCHESTRATOR) if each.url) if current else ()
    if not found:
        raise NotFound(f"no stack runs in {where}: name its home by --home, or the nodes by --orchestrators")
    own = read_key(where / OPERATOR)
    return _Nodes(found, key or (own.text if own else None))


def _status(url: str, key: str | None) -> dict[str, Any] | None:
    try:
        return _asked(url, "GET", "/api/cluster/status", key=key, timeout_s=_ASK_S)
    except Unavailable:
        return None


def _asked(
    url: str, method: str, path: str, *, key: str | None, timeout_s: float, body: object = None
) -> dict[str, Any]:
    """Return a node's answer; its own words when it says no, Unavailable when it says nothing."""
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx.request(method, url + path, json=body, headers=headers, timeout=timeout_s, trust_env=False)
        said: dict[str, Any] = answer.json()
    except httpx.InvalidURL as exc:
        raise BadSetting(f"{url} is no address of an orchestrator ({exc})") from exc
    except (httpx.HTTPError, ValueError) as exc:
        raise Unavailable(f"{url} does not answer ({exc or type(exc).__name__})") from exc
    if answer.is_error:
        raise DistriQueueError(str(said.get("detail", answer.reason_phrase)))
    return said


def _show(said: dict[str, dict[str, Any] | None]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("NODE", "ROLE", "TERM", "EPOCH", "LEADER", "ESTABLISHED", "URL"):
        table.add_column(heading)
    for url, each in said.items():
        if each is None:
            table.add_row("-", "[yellow]no answer[/yellow]", "-", "-", "-", "-", url)
            continue
        table.add_row(
            each["node"],
            f"[green]{each['role']}[/green]" if each["role"] == "leader" else each["role"],
            str(each["term"]),
            str(each["epoch"] or "-"),
            each["leader"] or "-",
            "yes" if each["established"] else "no",
            url,
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    console.print(table)
