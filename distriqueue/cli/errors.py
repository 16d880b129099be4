"""Errors for people: one line on standard error, and the exit code."""

from rich.console import Console
from rich.text import Text

from distriqueue.core.errors import DistriQueueError
from distriqueue.local.control import ERROR_PREFIX, NotStarted, exit_code


def report(error: DistriQueueError) -> int:
    """Show the error, with the log lines that tell more, and return the exit code."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if isinstance(error, NotStarted):
        for line in error.tail:
            console.print(Text(f"  {line}", style="dim"))
    console.print(Text.assemble((ERROR_PREFIX, "bold red"), error.message))
    return exit_code(error)
