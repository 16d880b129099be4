"""`queues list|pause|resume`: the four lanes."""

from typing import Annotated, Any, Final

import typer
from rich.text import Text

from distriqueue.cli import completion
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import Cell, console, say, show, span, table, write_json

app = group(
    "The queues, one per priority: how full they are, and letting one rest.", "queues", "distriqueue queues list"
)

HEADINGS: Final = ("QUEUE", "STATE", "PENDING", "READY", "UNACKED", "CONSUMERS", "OLDEST", "REASON")
FIGURES: Final = ("PENDING", "READY", "UNACKED", "CONSUMERS", "OLDEST")
NameArgument = Annotated[
    str, typer.Argument(metavar="QUEUE", autocompletion=completion.queues, help="`job.high`, or `high`.")
]


@app.command("list", epilog=examples("distriqueue queues list", "distriqueue queues list -o json"))
def list_queues(home: HomeOption = DEFAULT_HOME, url: UrlOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show what waits in each queue, and for how long."""
    with Gateway.of(home, url) as gateway:
        found = gateway.call("GET", "/queues")
    if output is Output.JSON:
        write_json(found)
        return
    show(table(HEADINGS, map(row, found), right=FIGURES))
    if not all(each["brokerAvailable"] for each in found):
        console(stderr=True).print("the broker does not answer: what it holds is not known", style="yellow")


@app.command(
    epilog=examples("distriqueue queues pause low", 'distriqueue queues pause job.high --reason "the API is down"')
)
def pause(
    name: NameArgument,
    *,
    reason: Annotated[str | None, typer.Option(help="Shown to whoever asks why a job waits.")] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let no job of a queue start; what runs goes on."""
    _order(f"/queues/{name}/pause", {"reason": reason}, home, url, output)


@app.command(epilog=examples("distriqueue queues resume low"))
def resume(
    name: NameArgument, home: HomeOption = DEFAULT_HOME, url: UrlOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Let a queue go on."""
    _order(f"/queues/{name}/resume", {}, home, url, output)


def row(queue: dict[str, Any]) -> tuple[Cell, ...]:
    """Return a queue's line; what the broker does not say is `-`."""
    return (
        queue["name"],
        Text("paused", style="yellow") if queue["paused"] else Text("open", style="green"),
        f"{queue['pending']:,}{'+' if queue['pendingIsEstimate'] else ''}",
        queue["ready"],
        queue["unacked"],
        queue["consumers"],
        span(queue["oldestAgeSeconds"]) if queue["oldestAgeSeconds"] else None,
        queue["pausedReason"],
    )


def _order(path: str, query: dict[str, Any], home: Any, url: str | None, output: Output) -> None:
    with Gateway.of(home, url, takes="operate") as gateway:
        queue = gateway.call("POST", path, query=query)
    if output is Output.JSON:
        write_json(queue)
    else:
        say(f"queue {queue['name']} is {'paused' if queue['paused'] else 'open'}")
