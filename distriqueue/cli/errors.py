"""Errors for people: what is wrong, where, and what to do, on standard error."""

from rich.console import Console
from rich.text import Text

from distriqueue.cli.exits import exit_code
from distriqueue.core.errors import DistriQueueError
from distriqueue.filterlang import WrongFilter

PREFIX = "error: "


def report(error: DistriQueueError) -> int:
    """Show the error, with the log lines or the place that tell more, and return the exit code."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for line in getattr(error, "tail", ()):  # of a stack that did not start
        console.print(Text(f"  {printable(line)}", style="dim"))
    console.print(Text.assemble((PREFIX, "bold red"), printable(error.message)))
    if isinstance(error, WrongFilter):
        for line in error.pointed().splitlines():
            console.print(Text(f"  {line}"))
    return exit_code(error)


def printable(text: str) -> str:
    """Return text of others without what a terminal would obey: control characters become `�`, but line ends stay."""
    return "".join("�" if _commands(char) else char for char in text)


def _commands(char: str) -> bool:
    return char not in "\n\t" and (char < " " or "\x7f" <= char <= "\x9f")
