"""Acting on many: asked first, then call by call with a bar, until nothing is left."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from distriqueue.cli.gateway import Gateway
from distriqueue.cli.output import console
from distriqueue.core.errors import BadSetting

MAX_CALLS: Final = 100_000
_SHOWN_IDS: Final = 100


@dataclass(frozen=True, slots=True)
class Order:
    """A body to send; `once` for one whose jobs still match when it is done, as those that run do after a cancel."""

    body: Mapping[str, Any]
    once: bool = False


def confirm(what: str, *, instead: str) -> None:
    """Ask on a terminal whether to do it, and end the command if not; BadSetting where nobody can be asked."""
    if not sys.stdin.isatty():
        raise BadSetting(f"{what}: nobody can be asked whether to, so say {instead}")
    typer.confirm(f"{what}. Do it?", err=True, abort=True)


def repeated(gateway: Gateway, path: str, orders: Sequence[Order], *, done: str, what: str) -> dict[str, Any]:
    """Give orders until nothing of them is left to do, and return the sum of the answers.

    An order ends early when a call changes nothing: the sum then still says `more`. `done` is the field that counts.
    """
    counted = [gateway.call("POST", path, body={**order.body, "dryRun": True}) for order in orders]
    total = None if any(each["more"] for each in counted) else sum(each["matched"] for each in counted)
    summed: dict[str, Any] = {}
    left = False
    with bar() as progress:
        task = progress.add_task(what, total=total)
        for order in orders:
            for _ in range(MAX_CALLS):
                answer = gateway.call("POST", path, body=order.body)
                summed = _sum(summed, answer)
                progress.update(task, completed=summed[done])
                if order.once or not answer["more"] or not answer[done]:
                    break
            left = left or answer["more"]
    return summed | {"more": left}


def bar() -> Progress:
    """Return a progress bar on standard error; invisible where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    err = console(stderr=True)
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def _sum(before: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Add up counts, keep the newest of the rest; of the ids as many as one answer has."""
    summed = dict(answer)
    for name, value in before.items():
        if name == "jobIds":
            summed[name] = [*value, *answer[name]][:_SHOWN_IDS]
        elif isinstance(value, int) and not isinstance(value, bool):
            summed[name] = value + answer[name]
    return summed
