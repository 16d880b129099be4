"""A progress bar where somebody can see one: in a terminal on standard error, and in a notebook; else none."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

Tick: TypeAlias = Callable[[], None]
"""One more is done; from any thread."""


@contextlib.contextmanager
def progress_bar(what: str, *, total: int | None, wanted: bool) -> Iterator[Tick]:
    """Show how many of `total` (None: nobody knows) are done, and when it will be over; yield what counts one more.

    In a notebook it is a widget if `ipywidgets` is installed, and plain output if not.
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
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _nothing() -> None:
    """Nobody looks."""
