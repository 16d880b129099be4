"""Single parts: the schema, a worker, the version."""

import asyncio
import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from distriqueue import __version__
from distriqueue.settings import PREFIX, StoreSettings


def migrate(
    database_url: Annotated[
        str | None, typer.Option(help=f"Postgres to migrate; {PREFIX}DATABASE_URL when not given.")
    ] = None,
) -> None:
    """Bring the database's schema to this version."""
    # Here and not above: alembic and SQLAlchemy take half a second that no other command needs.
    from distriqueue.store import schema  # noqa: PLC0415

    settings = StoreSettings.load(**({"database_url": database_url} if database_url else {}))
    revision = asyncio.run(schema.migrate(settings.database_url.get_secret_value()))
    Console(highlight=False).print(f"the schema is at {revision}")


def worker(
    app: Annotated[
        str | None, typer.Argument(metavar="[MODULE:REGISTRY]", help="Your handlers; the ones that ship if not given.")
    ] = None,
) -> None:
    """Run one worker, configured by DISTRIQUEUE_*, until it is told to stop."""
    arguments = [sys.executable, "-m", "workers", *([app] if app else [])]
    os.execv(sys.executable, arguments)  # noqa: S606 -- there is no shell, on purpose


def version() -> None:
    """Print the version."""
    Console(highlight=False).print(__version__)
