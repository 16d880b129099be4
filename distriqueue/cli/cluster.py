"""The cluster of orchestrators: `cluster status`, `cluster step-down`."""

from typing import Annotated, Any, Final

import typer
from rich.text import Text

from distriqueue.cli.exits import Exit
from distriqueue.cli.gateway import advised
from distriqueue.cli.help import examples, group
from distriqueue.cli.home import Callee, orchestrators
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, OrchestratorsOption, Output, OutputOption
from distriqueue.cli.output import say, show, table, write_json
from distriqueue.core.errors import BadSetting, Conflict, Unavailable
from distriqueue.sdk.errors import GatewayUnreachable
from distriqueue.sdk.transport import Transport

app = group("Who leads, and how to make another lead.", "cluster", "distriqueue cluster status")

HEADINGS: Final = ("NODE", "ROLE", "TERM", "EPOCH", "LEADER", "ESTABLISHED", "URL")
ASK_S: Final = 2.0
STEP_DOWN_S: Final = 10.0

Said = dict[str, dict[str, Any] | None]
"""What each address answered; None: nothing."""


@app.command(
    epilog=examples(
        "distriqueue cluster status",
        "distriqueue cluster status --orchestrators http://10.0.0.1:8081,http://10.0.0.2:8081 -o json",
    )
)
def status(
    home: HomeOption = DEFAULT_HOME, urls: OrchestratorsOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Show each node; the exit code is 1 unless all that answer agree on one established leader."""
    said = asked(orchestrators(home, urls))
    leader = settled(said)
    if output is Output.JSON:
        nodes = [{"url": url} | (each or {"error": "does not answer"}) for url, each in said.items()]
        write_json({"leader": leader, "settled": leader is not None, "nodes": nodes})
    else:
        show(table(HEADINGS, (_row(url, each) for url, each in said.items()), right=("TERM", "EPOCH")))
    if leader is None:
        raise typer.Exit(Exit.FAILED if any(said.values()) else Exit.UNREACHABLE)


@app.command(
    "step-down", epilog=examples("distriqueue cluster step-down", "distriqueue cluster step-down --to orchestrator2")
)
def step_down(
    home: HomeOption = DEFAULT_HOME,
    urls: OrchestratorsOption = None,
    to: Annotated[str | None, typer.Option(help="Who is to lead; the freshest node if not given.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make the leader hand over, before maintenance of its machine; nothing is lost, duties pause for a moment."""
    nodes = orchestrators(home, urls)
    said = asked(nodes)
    if not any(said.values()):
        raise Unavailable(f"no node answers at {', '.join(nodes.urls)}: see `distriqueue doctor`")
    url = next((url for url, each in said.items() if each and each["role"] == "leader"), None)
    if url is None:
        raise Conflict("no node leads: see `distriqueue cluster status`")
    order = {"to": to} if to else {}
    with _node(url, nodes.key, STEP_DOWN_S) as node, advised(url, takes="operate"):
        answer = node.call("POST", "/api/cluster/step-down", body=order)
    if output is Output.JSON:
        write_json(answer)
    else:
        say(f"{answer['node']} stepped down, {answer['leader']} leads")


def asked(nodes: Callee) -> Said:
    """Ask every node for its view; errors other than silence are raised."""
    said: Said = {}
    for url in nodes.urls:
        with _node(url, nodes.key, ASK_S) as node, advised(url):
            try:
                said[url] = node.call("GET", "/api/cluster/status")
            except GatewayUnreachable:
                said[url] = None
    return said


def settled(said: Said) -> str | None:
    """Return the leader on whom all that answer agree, if it is established."""
    views = {(each["leader"], each["term"], each["established"]) for each in said.values() if each}
    leader, _, established = next(iter(views)) if len(views) == 1 else (None, 0, False)
    return str(leader) if leader is not None and established else None


def _node(url: str, key: str | None, timeout_s: float) -> Transport:
    try:
        return Transport(url, api_key=key, timeout_s=timeout_s, retry_for_s=0.0)
    except BadSetting as exc:
        raise BadSetting(f"{url!r} is no address of an orchestrator ({exc.message})") from exc


def _row(url: str, each: dict[str, Any] | None) -> tuple[str | Text | int | None, ...]:
    if each is None:
        return (None, Text("no answer", style="yellow"), None, None, None, None, url)
    role = Text(each["role"], style="green" if each["role"] == "leader" else "")
    established = "yes" if each["established"] else "no"
    return (each["node"], role, each["term"], each["epoch"], each["leader"], established, url)
