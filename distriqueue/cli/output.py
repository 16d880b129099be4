"""Answers for people and for programs. What others have written is shown, never obeyed by the terminal."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from distriqueue.cli.errors import printable

PIPE_WIDTH: Final = 200
"""Columns where no terminal says how many there are: enough to cut nothing that matters."""
NONE: Final = "-"
COLOURS: Final = {
    "completed": "green",
    "running": "cyan",
    "queued": "yellow",
    "pending": "yellow",
    "retrying": "yellow",
    "failed": "red",
    "timeout": "red",
    "cancelled": "dim",
    "scheduled": "blue",
    "blocked": "blue",
}
_SPANS: Final = ((172_800, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min"))

Cell = str | Text | float | None


def console(*, stderr: bool = False) -> Console:
    """Return where people read; colours only on a terminal, and not with NO_COLOR."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def say(text: str, *, stderr: bool = False) -> None:
    """Print a line that may hold what others have written."""
    Console(stderr=stderr, highlight=False, soft_wrap=True).print(Text(printable(text)))


def note(text: str) -> None:
    """Say something beside the answer, on standard error."""
    say(text, stderr=True)


def write_json(value: object) -> None:
    """Print JSON, for programs; control characters are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    typer.echo(re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text))


def write_json_line(value: object) -> None:
    """Print JSON in one line, at once."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def show(renderable: RenderableType) -> None:
    """Print for people."""
    console().print(renderable)


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Sequence[str] = ()) -> Table:
    """Return a table without lines; the columns in `right` hold figures."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def fields(pairs: Iterable[tuple[str, Cell]]) -> Table:
    """Return names and values, one pair a line; pairs without a value are left out."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, ""):
            made.add_row(Text(name), cell(value))
    return made


def cell(value: Cell) -> Text:
    """Return a value as it stands in a table."""
    match value:
        case None | "":
            return Text(NONE)
        case Text():
            return value
        case str():
            return Text(printable(value))
    return Text(f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")


def coloured(status: str) -> Text:
    """Return a job's status in its colour."""
    return Text(printable(status), style=COLOURS.get(status, ""))


def short(text: str | None, chars: int = 60) -> str | None:
    """Return the first line of a text, cut."""
    if not text:
        return None
    line = text.strip().partition("\n")[0]
    return line if len(line) <= chars else f"{line[: chars - 1]}…"


def compact(value: object, chars: int = 2_000) -> str | None:
    """Return a JSON value in one line, cut; None for null."""
    return None if value is None else short(json.dumps(value, ensure_ascii=False), chars)


def ago(at: str | None, now: datetime | None = None) -> str | None:
    """Say how long ago, or in how long, an RFC 3339 time is."""
    if at is None:
        return None
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(at)).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """Say a duration in its largest sensible unit."""
    for least, unit_s, unit in _SPANS:
        if seconds >= least:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def milliseconds(value: float | None) -> str | None:
    """Say a duration that the API gives in milliseconds."""
    if value is None:
        return None
    return f"{value:.0f} ms" if value < 1_000 else span(value / 1_000)


def plural(count: int, one: str, many: str | None = None) -> str:
    """Say how many."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
