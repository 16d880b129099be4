"""API keys: `apikey create`, `apikey list`, `apikey revoke`."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from distriqueue.cli.database import advised
from distriqueue.cli.help import examples, group
from distriqueue.cli.home import database
from distriqueue.cli.options import DEFAULT_HOME, DatabaseOption, HomeOption, Output, OutputOption
from distriqueue.cli.output import Cell, note, say, show, table, write_json
from distriqueue.core.access import Scope, Token, words
from distriqueue.core.errors import BadSetting
from distriqueue.filterlang.times import age_s
from distriqueue.settings import StoreSettings
from distriqueue.store.access import AccessStore, Key, NewKey
from distriqueue.store.database import Database

app = group("Who may call, and what they may do.", "apikey", "distriqueue apikey create shop --scope submit")

T = TypeVar("T")

ACTOR: Final = "cli"
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
HEADINGS: Final = ("ID", "NAME", "SCOPES", "PER SECOND", "CREATED", "EXPIRES", "LAST USED", "STATE")


@app.command(
    epilog=examples(
        "distriqueue apikey create shop --scope read --scope submit",
        "distriqueue apikey create ci --scope submit --expires 30d --requests-per-second 50",
    )
)
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
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a key and print it, this once; from the first one on, nobody is served without a key."""
    if not _NAME.fullmatch(name):
        raise BadSetting("NAME must be 1 to 100 characters in one line")
    if requests_per_second is not None and not (0 < requests_per_second <= 1e9):
        raise BadSetting("--requests-per-second must be more than 0")
    new = NewKey(name, frozenset(scope), _seconds(expires), requests_per_second)
    token = Token.new()
    key = _on_store(home, database_url, lambda store: store.create(token, new, actor=ACTOR))
    if output is Output.JSON:
        write_json({"key": token.text} | _as_json(key))
        return
    # The key alone on standard output, so that it can be captured; it is neither kept nor shown again.
    note(f"key {key.id} for {name!r} allows {words(key.scopes)}{_until(key)}; this is the only time that it is shown:")
    typer.echo(token.text)


@app.command("list", epilog=examples("distriqueue apikey list", "distriqueue apikey list --all -o json"))
def list_keys(
    dead: Annotated[bool, typer.Option("--all", help="Those that were revoked or have expired too.")] = False,
    home: HomeOption = DEFAULT_HOME,
    database_url: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the keys, newest first, without their secrets."""
    keys = _on_store(home, database_url, lambda store: store.all(dead=dead))
    if output is Output.JSON:
        write_json([_as_json(key) for key in keys])
    else:
        show(table(HEADINGS, map(_row, keys), right=("PER SECOND",)))


@app.command(epilog=examples("distriqueue apikey revoke 3f9a1c0d5b7e2a46"))
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `apikey list` shows it.")],
    home: HomeOption = DEFAULT_HOME,
    database_url: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """End a key for good; services refuse it about a second later."""
    key = _on_store(home, database_url, lambda store: store.revoke(key_id, actor=ACTOR))
    if output is Output.JSON:
        write_json(_as_json(key))
    else:
        say(f"key {key.id} for {key.name!r} is revoked")


def _on_store(home: Path, database_url: str | None, work: Callable[[AccessStore], Awaitable[T]]) -> T:
    """Run some work on the database's keys."""

    address = database(home, database_url)

    async def run() -> T:
        settings = StoreSettings.load(database_url=address)
        async with Database.open(settings, application="distriqueue-cli") as opened:
            return await work(AccessStore(opened))

    with advised(address):
        return asyncio.run(run())


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = age_s(text.strip())
    if not seconds:
        raise BadSetting("--expires must be a number and s, m, h, d or w, such as 12h or 30d, and at most 100 years")
    return float(seconds)


def _row(key: Key) -> tuple[Cell, ...]:
    return (
        key.id,
        key.name,
        words(key.scopes),
        None if key.requests_per_s is None else f"{key.requests_per_s:g}",
        _day(key.created_at),
        _day(key.expires_at),
        _day(key.last_used_at),
        _state(key),
    )


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
