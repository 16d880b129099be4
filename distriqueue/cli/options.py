"""What several commands take."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from distriqueue.settings import DEFAULT_URL, PREFIX, HomeSettings

DEFAULT_HOME: Final[Path] = HomeSettings.model_fields["home"].default


class Output(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """For programs: the API's own answer."""


HomeOption = Annotated[
    Path, typer.Option(metavar="DIR", help="Directory of the stack: data, logs, state.", envvar=f"{PREFIX}HOME")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar=f"{PREFIX}URL",
        help=f"The gateway; that of the stack in the home if not given, else {DEFAULT_URL}.",
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="`json` for programs.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar=f"{PREFIX}DATABASE_URL",
        help="Postgres with the jobs; that of the stack in the home if not given.",
    ),
]
OrchestratorsOption = Annotated[
    str | None,
    typer.Option(
        "--orchestrators",
        metavar="URLS",
        envvar=f"{PREFIX}ORCHESTRATOR_URLS",
        help="Addresses of the nodes' APIs, separated by commas; those of the stack in the home if not given.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]


def home_of_environment() -> Path:
    """Return the home where no option can be looked at: in completions."""
    return Path(os.environ.get(f"{PREFIX}HOME") or DEFAULT_HOME)


def url_of_environment() -> str | None:
    """Return the gateway's address where no option can be looked at: in completions."""
    return os.environ.get(f"{PREFIX}URL")
