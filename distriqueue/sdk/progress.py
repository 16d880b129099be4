"""A progress bar where somebody can see one: in a terminal on standard error, and in a notebook; else none."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

Tick: TypeAlias = Callable[[], None]
"""One more is done; from any thread."""


@contextlib.contextmanager
def progress_bar(what: str, *, total: int | None, wanted: bool) -> Iterator[Tick]:
    """Show how many of `total` (None: nobody knows) are done, and when it will be over; yield what counts one more.

    In a notebook it is a widget, which takes `ipywidgets`; without, a warning says so, once, and nothing is shown.
    """
    if not wanted:
        yield _nothing
        return
    # Here and not above: a client that shows nothing need not load it.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_jupyter and (not console.is_terminal or console.is_dumb_terminal):
        yield _nothing
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # What is printed meanwhile goes above a bar on the same screen; into a file, a pipe, a notebook it goes as ever.
    on_screen = not console.is_jupyter and sys.stdout.isatty()
    with Progress(
        *columns, console=console, redirect_stdout=on_screen, redirect_stderr=not console.is_jupyter
    ) as progress:
        task = progress.add_task(what, total=total)
        try:
            yield lambda: progress.advance(task)
        finally:
            progress.refresh()  # in a notebook rich itself does not draw the last step


def _nothing() -> None:
    """Nobody looks."""
