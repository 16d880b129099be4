"""`distriqueue doctor`: look at everything that must work, and say what to do."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from distriqueue.cli import checks, probes
from distriqueue.cli import home as homes
from distriqueue.cli.checks import Finding, Level
from distriqueue.cli.exits import Exit, NoStack
from distriqueue.cli.help import examples
from distriqueue.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    OrchestratorsOption,
    Output,
    OutputOption,
    UrlOption,
)
from distriqueue.cli.output import console, plural, say, show, table, write_json
from distriqueue.settings import PREFIX

app = typer.Typer(rich_markup_mode=None, add_completion=False)

STYLES: Final = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "bold red"}


@app.command(
    epilog=examples(
        "distriqueue doctor",
        "distriqueue doctor --url http://gw:8080 --database-url postgresql://u:p@db:5432/jobs -o json",
    )
)
def doctor(
    *,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    database_url: DatabaseOption = None,
    broker_url: Annotated[
        str | None,
        typer.Option(envvar=f"{PREFIX}BROKER_URL", help="The broker; that of the stack in the home if not given."),
    ] = None,
    urls: OrchestratorsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Look for what is wrong, and say what to do about it: machine, database, broker, gateway, cluster, workers.

    The exit code is that of the worst: 3 when something does not answer, 4 when it refuses us, 1 for other problems.
    """
    with console(stderr=True).status("looking"):
        found = list(_findings(home, url, database_url, broker_url, urls))
    code = checks.worst(found)
    if output is Output.JSON:
        listed = [{"what": each.what, "level": each.level, "said": each.said, "do": each.do or None} for each in found]
        write_json({"healthy": code is Exit.OK, "checks": listed})
    else:
        rows = ((each.what, Text(each.level, style=STYLES[each.level]), each.said, Text(each.do)) for each in found)
        show(table(("WHAT", "IS", "FOUND", "DO"), rows))
        problems = sum(each.level is Level.PROBLEM for each in found)
        say("all is well" if code is Exit.OK else plural(problems, "problem"))
    if code is not Exit.OK:
        raise typer.Exit(code)


def _findings(
    home: Path, url: str | None, database_url: str | None, broker_url: str | None, urls: str | None
) -> Iterator[Finding]:
    yield from checks.machine(home)
    state, found = checks.stack(home)
    if state is not None or not (url or database_url or urls):
        yield from found
    database_url = database_url or (state.database_url if state else None)
    broker_url = broker_url or (state.broker_url if state else None)
    yield from asyncio.run(probes.database(database_url))
    yield asyncio.run(probes.broker(broker_url, database_url))
    yield from probes.gateway(homes.gateway(home, url))
    try:
        nodes = homes.orchestrators(home, urls)
    except NoStack:
        nodes = None
    yield from probes.orchestrators(nodes)
