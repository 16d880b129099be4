"""All commands, in the order `--help` shows them. What a command needs is imported when that command is run."""

from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from distriqueue.cli.help import examples

COMMANDS: Final = {
    "init": ("init", "Make a project with two handlers and a test, ready to run."),
    "up": ("stack", "Start a whole stack on this machine: Postgres, gateway, orchestrators, workers."),
    "down": ("stack", "Stop the stack and wait until none of its processes is left; its data stays."),
    "status": ("stack", "Show the processes of the stack."),
    "doctor": ("doctor", "Look for what is wrong, and say what to do about it."),
    "top": ("top", "Watch queues, throughput, workers and the leader, live."),
    "submit": ("submit", "Submit a job; print its id, with --wait its result."),
    "jobs": ("jobs", "Look at jobs, follow them, cancel and retry them."),
    "batches": ("batches", "Look at jobs that were submitted together."),
    "queues": ("queues", "The queues, one per priority: how full they are, and letting one rest."),
    "rate-limits": ("limits", "Rate limits: how many jobs of a type may start in a period."),
    "dlq": ("dlq", "Dead letters: what failed for good, and running it again."),
    "schedules": ("schedules", "Jobs by cron: when they fire, running one now, pausing them."),
    "webhooks": ("webhooks", "Webhooks: what was sent to a callbackUrl, and sending it again."),
    "workers": ("workers", "The workers: who works, and letting one end."),
    "cluster": ("cluster", "Who leads, and how to make another lead."),
    "apikey": ("apikey", "Who may call, and what they may do."),
    "export": ("export", "Write jobs as JSON, one a line, whole and the newest first."),
    "migrate": ("services", "Bring the database's schema to this version."),
    "worker": ("worker", "Run one worker until it is told to stop."),
    "version": ("services", "Print the version."),
}
"""Each with the module that has it, and its line in the help."""


class _Later(TyperCommand):
    """Stands for a command in the help and in completions, without its module."""


class _Commands(TyperGroup):
    """The commands of the table; one is imported when it is to run."""

    def __init__(self, **options: Any) -> None:
        later = {name: _Later(name, help=line, short_help=line) for name, (_, line) in COMMANDS.items()}
        super().__init__(**{**options, "commands": later})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and isinstance(found, _Later) else found, rest

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- the signature is theirs
        return list(self.commands)


def load(name: str) -> Any:
    """Return the command or group of commands of that name, with all that belongs to it."""
    module = import_module(f"distriqueue.cli.{COMMANDS[name][0]}")
    if module.app.info.name == name:
        return typer.main.get_group(module.app)
    found = typer.main.get_command(module.app)
    return found.commands[name] if isinstance(found, TyperGroup) else found


app = typer.Typer(
    name="distriqueue",
    cls=_Commands,
    help="DistriQueue, a distributed job platform: its jobs, its services, and a whole stack on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=examples("distriqueue submit calculate --payload '{\"numbers\": [1, 2, 3]}' --wait", "distriqueue jobs list")
    + "\n\nExit codes: 0 done; 1 failed, or the answer is no; 2 wrong use; 3 not reachable; 4 refused; 5 not found;"
    " 6 its state forbids it; 7 not now.",
)


@app.callback()
def _root() -> None:
    """Make it a group: its commands are in the table."""
