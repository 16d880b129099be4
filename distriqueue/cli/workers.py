"""`workers list|drain`."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.text import Text

from distriqueue.cli import completion
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import Cell, ago, say, short, show, table, write_json

app = group("The workers: who works, and letting one end.", "workers", "distriqueue workers list")

HEADINGS: Final = ("WORKER", "STATE", "LOAD", "HEARD", "SINCE", "MEMORY", "VERSION", "TYPES")
MAX_LISTED: Final = 10_000
_GONE: Final = frozenset({"STOPPED", "UNRESPONSIVE"})


@app.command("list", epilog=examples("distriqueue workers list", "distriqueue workers list --all -o json"))
def list_workers(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those of the last day that have ended too.")] = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the workers: what they run, and when they were heard last."""
    with Gateway.of(home, url) as gateway:
        found = listed(gateway, every=every)
    if output is Output.JSON:
        write_json(found)
    elif found:
        show(table(HEADINGS, map(row, found), right=("LOAD", "MEMORY")))
    else:
        say("no worker is alive: `distriqueue worker` starts one, --all shows the former ones")


@app.command(epilog=examples("distriqueue workers drain worker1.3f9a1c"))
def drain(
    worker_id: Annotated[
        str, typer.Argument(metavar="ID", autocompletion=completion.workers, help="As `workers list` shows it.")
    ],
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask a worker to take no more jobs, to end those it runs, and to stop."""
    with Gateway.of(home, url, takes="operate") as gateway:
        path = f"/workers/{quote(worker_id, safe='')}/drain"
        worker = gateway.call(
            "POST", path, missing="`distriqueue workers list` shows them; each start has an id of its own"
        )
    if output is Output.JSON:
        write_json(worker)
    else:
        say(f"worker {worker['workerId']} is asked to drain; it runs {worker['runningJobs']} jobs")


def listed(gateway: Gateway, *, every: bool) -> list[dict[str, Any]]:
    """Return the living workers, or all that are known."""
    pages = gateway.pages("/workers", {}, limit=MAX_LISTED)
    return [each for page in pages for each in page["content"] if every or each["state"] not in _GONE]


def memory(count_bytes: int | None) -> str | None:
    """Write a worker's memory; None: it does not say."""
    return None if count_bytes is None else f"{count_bytes / 1e6:.0f} MB"


def row(worker: dict[str, Any]) -> tuple[Cell, ...]:
    """Return a worker's line."""
    state = "draining" if worker["drainRequested"] and worker["state"] not in _GONE else worker["state"].lower()
    colour = "red" if worker["state"] in _GONE else "yellow" if state == "draining" else "green"
    return (
        worker["workerId"],
        Text(state, style=colour),
        f"{worker['currentLoad']}/{worker['capacity']}",
        ago(worker["lastSeen"]),
        ago(worker["firstSeen"]),
        memory(worker["memoryBytes"]),
        worker["version"],
        short(", ".join(worker["types"]), 50),
    )
