"""`migrate` and `version`."""

import asyncio
from typing import Annotated

import typer

from distriqueue import __version__
from distriqueue.cli.help import examples
from distriqueue.cli.options import Output, OutputOption
from distriqueue.cli.output import console, say, write_json
from distriqueue.settings import PREFIX, StoreSettings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "DISTRIQUEUE_DATABASE_URL=postgresql://u:p@db:5432/jobs distriqueue migrate",
        "distriqueue migrate --database-url postgresql://u:p@db:5432/jobs -o json",
    )
)
def migrate(
    database_url: Annotated[
        str | None, typer.Option(help=f"Postgres to migrate; {PREFIX}DATABASE_URL when not given.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring the database's schema to this version; what is there already stays."""
    # Here and not above: asyncpg, alembic and SQLAlchemy take half a second that `version` does not need.
    from distriqueue.cli.database import advised  # noqa: PLC0415
    from distriqueue.store import schema  # noqa: PLC0415

    settings = StoreSettings.load(**({"database_url": database_url} if database_url else {}))
    address = settings.database_url.get_secret_value()
    with advised(address), console(stderr=True).status("migrating"):
        revision = asyncio.run(schema.migrate(address))
    if output is Output.JSON:
        write_json({"revision": revision})
    else:
        say(f"the schema is at {revision}")


@app.command(epilog=examples("distriqueue version", "distriqueue version -o json"))
def version(output: OutputOption = Output.TABLE) -> None:
    """Print the version."""
    if output is Output.JSON:
        write_json({"version": __version__})
    else:
        say(__version__)
