"""API keys: `apikey create`, `apikey list`, `apikey revoke`."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from distriqueue.cli.cluster import Output, OutputOption
from distriqueue.cli.database import database_of
from distriqueue.cli.stack import DEFAULT_HOME, HomeOption
from distriqueue.core.access import Scope, Token, words
from distriqueue.core.errors import BadSetting
from distriqueue.settings import PREFIX, StoreSettings
from distriqueue.store.access import AccessStore, Key, NewKey
from distriqueue.store.database import Database

app = typer.Typer(help="Who may call, and what they may do.", no_args_is_help=True, rich_markup_mode=None)

T = TypeVar("T")

ACTOR: Final = "cli"
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_MAX_DAYS: Final = 36_500
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_PIPE_WIDTH: Final = 200

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        envvar=f"{PREFIX}DATABASE_URL", help="Postgres with the keys; that of the stack in the home if not given."
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, for people: names may repeat.")],
    *,
    scope: Annotated[list[Scope], typer.Option(help="What it allows; give it several times for several.")],
    expires: Annotated[
        str | None,
        typer.Option(metavar="30d", help="How long it counts: a number and s, m, h, d or w; for ever if not given."),
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option(help="Most requests a second, in each gateway and orchestrator.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    database_url: DatabaseOption = None,
) -> None:
    """Make a key and print it, this once; from the first one on, nobody is served without a key."""
    if not _NAME.fullmatch(name):
        raise BadSetting("NAME must be 1 to 100 characters in one line")
    if requests_per_second is not None and not (0 < requests_per_second <= 1e9):
        raise BadSetting("--requests-per-second must be more than 0")
    new = NewKey(name, frozenset(scope), _seconds(expires), requests_per_second)
    token = Token.new()
    key = _on_store(home, database_url, lambda store: store.create(token, new, actor=ACTOR))
    # The key alone on standard output, so that it can be captured; it is neither kept nor shown again.
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"key {key.id} for {name!r} allows {words(key.scopes)}{_until(key)}; this is the only time that it is shown:",
        markup=False,
    )
    typer.echo(token.text)


@app.command("list")
def list_keys(
    dead: Annotated[bool, typer.Option("--all", help="Those that were revoked or have expired too.")] = False,
    home: HomeOption = DEFAULT_HOME,
    database_url: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the keys, newest first, without their secrets."""
    keys = _on_store(home, database_url, lambda store: store.all(dead=dead))
    if output is Output.JSON:
        typer.echo(json.dumps([_as_json(key) for key in keys], indent=2))
    else:
        _show(keys)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `apikey list` shows it.")],
    home: HomeOption = DEFAULT_HOME,
    database_url: DatabaseOption = None,
) -> None:
    """End a key for good; services refuse it about a second later."""
    key = _on_store(home, database_url, lambda store: store.revoke(key_id, actor=ACTOR))
    Console(highlight=False, soft_wrap=True).print(f"key {key.id} for {key.name!r} is revoked", markup=False)


def _on_store(home: Path, database_url: str | None, work: Callable[[AccessStore], Awaitable[T]]) -> T:
    """Run some work on the database's keys."""

    async def run() -> T:
        settings = StoreSettings.load(database_url=database_of(home, database_url))
        async with Database.open(settings, application="distriqueue-cli") as database:
            return await work(AccessStore(database))

    try:
        return asyncio.run(run())
    except asyncpg.UndefinedTableError as exc:
        raise BadSetting("the database has no table of API keys: run `distriqueue migrate` first") from exc


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= _MAX_DAYS * 86_400:
        raise BadSetting("--expires must be a number and s, m, h, d or w, such as 12h or 30d, and at most 100 years")
    return float(seconds)


def _show(keys: list[Key]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("ID", "NAME", "SCOPES", "PER SECOND", "CREATED", "EXPIRES", "LAST USED", "STATE"):
        table.add_column(heading)
    for key in keys:
        table.add_row(
            key.id,
            key.name.replace("[", r"\["),
            words(key.scopes),
            "-" if key.requests_per_s is None else f"{key.requests_per_s:g}",
            _day(key.created_at),
            _day(key.expires_at),
            _day(key.last_used_at),
            _state(key),
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    console.print(table)


def _state(key: Key) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expired:
        return "expired"
    return "internal" if key.internal else "live"


def _as_json(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": words(key.scopes).split(),
        "requestsPerSecond": key.requests_per_s,
        "state": _state(key),
        "internal": key.internal,
        "createdAt": _time(key.created_at),
        "expiresAt": _time(key.expires_at),
        "revokedAt": _time(key.revoked_at),
        "lastUsedAt": _time(key.last_used_at),
    }


def _until(key: Key) -> str:
    return f" until {_day(key.expires_at)} UTC" if key.expires_at else ""


def _day(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M") if at else "-"


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
