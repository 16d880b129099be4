"""`rate-limits list|set|remove`: how many jobs of a type may start in a period."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from distriqueue.cli import completion
from distriqueue.cli.arguments import seconds_of
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import Cell, say, show, table, write_json
from distriqueue.core.errors import BadSetting

app = group(
    "Rate limits: how many jobs of a type may start in a period.", "rate-limits", "distriqueue rate-limits list"
)

HEADINGS: Final = ("TYPE", "STARTS", "EVERY", "FREE NOW")
MISSING: Final = "`distriqueue rate-limits list` shows them"
MOST_S: Final = 86_400
TypeArgument = Annotated[
    str, typer.Argument(metavar="TYPE", autocompletion=completion.job_types, help="Which jobs it is for.")
]


@app.command("list", epilog=examples("distriqueue rate-limits list", "distriqueue rate-limits list -o json"))
def list_limits(home: HomeOption = DEFAULT_HOME, url: UrlOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show the limits by job type, and how many starts are free at this moment."""
    with Gateway.of(home, url) as gateway:
        found = gateway.call("GET", "/rate-limits")
    if output is Output.JSON:
        write_json(found)
    elif found:
        show(table(HEADINGS, map(_row, found), right=HEADINGS[1:]))
    else:
        say("no type is limited: `distriqueue rate-limits set` limits one")


@app.command(
    "set",
    epilog=examples("distriqueue rate-limits set resize 10", "distriqueue rate-limits set send-mail 100 --every 1m"),
)
def set_limit(
    type_: TypeArgument,
    permits: Annotated[int, typer.Argument(metavar="STARTS", min=1, max=1_000_000, help="So many, at most.")],
    *,
    every: Annotated[str, typer.Option(metavar="1s", help="In each such period, up to a day.")] = "1s",
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let at most so many jobs of a type start in a period; it holds for all workers within a second."""
    per_s = seconds_of(every, "--every")
    if per_s is None or per_s > MOST_S:
        raise BadSetting(f"--every is at most a day, not {every!r}")
    with Gateway.of(home, url, takes="operate") as gateway:
        limit = gateway.call("PUT", _path(type_), body={"permits": permits, "perSeconds": per_s})
    if output is Output.JSON:
        write_json(limit)
    else:
        say(f"of {type_!r} at most {limit['permits']:,} start {_period(limit)}")


@app.command(epilog=examples("distriqueue rate-limits remove resize"))
def remove(
    type_: Annotated[
        str,
        typer.Argument(metavar="TYPE", autocompletion=completion.limited_types, help="As `rate-limits list` shows it."),
    ],
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let jobs of a type start as they come; what has waited goes on at once."""
    with Gateway.of(home, url, takes="operate") as gateway:
        gateway.call("DELETE", _path(type_), missing=MISSING)
    if output is Output.JSON:
        write_json({"type": type_, "removed": True})
    else:
        say(f"{type_!r} is limited no more")


def _row(limit: dict[str, Any]) -> tuple[Cell, ...]:
    return (limit["type"], limit["permits"], _period(limit).removeprefix("every "), float(limit["freeNow"]))


def _period(limit: dict[str, Any]) -> str:
    seconds = limit["perSeconds"]
    return "every second" if seconds == 1 else f"every {seconds:g} seconds"


def _path(type_: str) -> str:
    return f"/rate-limits/{quote(type_, safe='')}"
