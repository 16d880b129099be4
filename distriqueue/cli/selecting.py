"""The options by which commands choose jobs: `--filter` and its short forms."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from distriqueue.cli import completion
from distriqueue.core.errors import BadSetting
from distriqueue.filterlang import Field, Filter, parse, quoted

FilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        metavar="FILTER",
        autocompletion=completion.filters,
        help='Such as "status:failed type:calculate created:>2h"; fields: status, type, priority, tag, worker, batch,'
        " schedule, created; free text is looked for in type and error.",
    ),
]
StatusOption = Annotated[
    list[str] | None,
    typer.Option(
        "--status", "-s", metavar="STATUS", autocompletion=completion.statuses, help="As `status:` in a filter."
    ),
]
TypeOption = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", metavar="TYPE", autocompletion=completion.job_types, help="As `type:` in a filter."),
]
PriorityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--priority", "-p", metavar="PRIORITY", autocompletion=completion.priorities, help="As `priority:` in a filter."
    ),
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="As `tag:` in a filter.")]


def chosen(filters: Sequence[str] | None, **short: Sequence[str] | None) -> Filter:
    """Return the filter that all these say together; WrongFilter."""
    words = [f"{Field(name)}:{quoted(value)}" for name, values in short.items() for value in values or ()]
    return parse(" ".join([*(filters or ()), *words]))


def now() -> datetime:
    """Return the time that ages in filters count from."""
    return datetime.now(UTC)


def only(where: Filter, *known: Field, what: str) -> None:
    """Refuse a filter with other fields than these; BadSetting says which ones there are."""
    allowed = {Field.STATUS: "statuses", Field.TYPE: "types", Field.BATCH: "batch"}
    kept = {name: getattr(where, name) for field, name in allowed.items() if field in known}
    if where != Filter(**kept):
        raise BadSetting(f"{what} can be filtered by {', '.join(known)} only, not by {where}")
