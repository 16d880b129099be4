"""Which Postgres a command works on: the one that is named, or that of the stack in the home."""

from pathlib import Path
from typing import Annotated

import typer

from distriqueue.core.errors import NotFound
from distriqueue.local import control
from distriqueue.local.home import Home
from distriqueue.local.state import Phase
from distriqueue.settings import PREFIX

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        envvar=f"{PREFIX}DATABASE_URL", help="Postgres with the jobs; that of the stack in the home if not given."
    ),
]


def database_of(home: Path, named: str | None) -> str:
    """Return its address; NotFound when none is named and no stack runs."""
    if named:
        return named
    where = home.absolute()
    current = control.view(Home.at(where)) if where.is_dir() else None
    if current is None or current.database_url is None or current.phase in {Phase.STOPPED, Phase.FAILED, Phase.LOST}:
        raise NotFound(f"no stack runs in {where}: name its home by --home, or the database by --database-url")
    return current.database_url
