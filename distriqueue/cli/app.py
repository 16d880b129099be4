"""All commands, in the order `--help` shows them."""

import typer

from distriqueue.cli import apikey, cluster, export, services, stack

app = typer.Typer(
    name="distriqueue",
    help="DistriQueue, a distributed job platform: a whole stack on this machine, or single parts of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.status)
app.add_typer(cluster.app, name="cluster")
app.add_typer(apikey.app, name="apikey")
app.command()(export.export)
app.command()(services.migrate)
app.command()(services.worker)
app.command()(services.version)
