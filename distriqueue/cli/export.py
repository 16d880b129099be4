"""`distriqueue export`: jobs as JSON Lines, newest first, a page at a time."""

import asyncio
import contextlib
import gzip
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, cast
from uuid import UUID

import typer

from distriqueue.cli import completion
from distriqueue.cli.database import advised
from distriqueue.cli.help import examples
from distriqueue.cli.home import database
from distriqueue.cli.options import DEFAULT_HOME, DatabaseOption, HomeOption
from distriqueue.cli.output import console, note, plural
from distriqueue.core.errors import BadSetting, DistriQueueError
from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.settings import StoreSettings
from distriqueue.store.database import Database

if TYPE_CHECKING:
    from distriqueue.store.export import Line
    from distriqueue.store.reads import JobFilter

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PAGE_JOBS: Final = 1_000
STATEMENT_S: Final = 120.0
"""A filter that few jobs match has Postgres look at many."""
_ONLY: Final = "Only those; give it several times for several."


@app.command(
    epilog=examples(
        "distriqueue export --output jobs.jsonl.gz",
        "distriqueue export --status failed --from 2030-01-31 | jq -r .error.message",
    )
)
def export(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, packed when it ends in .gz; standard output if not given."),
    ] = None,
    status: Annotated[list[Status] | None, typer.Option(case_sensitive=False, help=_ONLY)] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", autocompletion=completion.job_types, help=_ONLY)] = None,
    priority: Annotated[list[Priority] | None, typer.Option(case_sensitive=False, help=_ONLY)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only jobs that have it; all of them, if given again.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Created at or after 2030-01-31 (UTC) or 2030-01-31T12:00:00Z."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Created before.")] = None,
    batch: Annotated[UUID | None, typer.Option(help="Only jobs of this batch.")] = None,
    attempts: Annotated[bool, typer.Option(help="Each job with its attempts, or without.")] = True,
    home: HomeOption = DEFAULT_HOME,
    database_url: DatabaseOption = None,
) -> None:
    """Write jobs as JSON, one a line, whole and the newest first."""
    # Here and not above: SQLAlchemy takes half a second that most commands do not need.
    from distriqueue.store.reads import JobFilter  # noqa: PLC0415

    where = JobFilter(
        statuses=tuple(status or ()),
        types=tuple(type_ or ()),
        priorities=tuple(priority or ()),
        tags=tuple(tag or ()),
        batch=batch,
        created_from=_time("--from", since),
        created_to=_time("--to", until),
    )
    address = database(home, database_url)
    settings = StoreSettings.load(database_url=address, store_timeout=STATEMENT_S, store_pool_size=1)
    with advised(address), _opened(output) as out:
        jobs = asyncio.run(_write(settings, where, attempts=attempts, out=out))
    to = f" to {output}" if output else ""
    note(f"exported {plural(jobs, 'job')}{to}")


async def _write(settings: StoreSettings, where: "JobFilter", *, attempts: bool, out: BinaryIO) -> int:
    jobs = 0
    async with Database.open(settings, application="distriqueue-cli") as opened:
        shown = console(stderr=True).status("exporting") if _shows_progress(out) else contextlib.nullcontext()
        with shown as progress:
            async with contextlib.aclosing(_pages(opened, where, attempts=attempts)) as pages:
                async for page in pages:
                    out.writelines(line.text for line in page)
                    jobs += len(page)
                    if progress is not None:
                        progress.update(f"{jobs:,} jobs")
        out.flush()
    return jobs


async def _pages(database: Database, where: "JobFilter", *, attempts: bool) -> AsyncGenerator[list["Line"]]:
    """Yield jobs page by page; nothing is held in the database while one is written."""
    from distriqueue.store import export as store  # noqa: PLC0415
    from distriqueue.store.reads import JobReader, Position  # noqa: PLC0415

    reader = JobReader(database)
    after: Position | None = None
    while positions := await reader.positions(where, size=PAGE_JOBS, after=after):
        async with database.connection() as connection:
            parts = await store.pages(connection, [position.id for position in positions])
        for ids in parts:
            async with (
                database.connection() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                page = await store.lines(connection, ids, attempts=attempts, statuses=where.statuses)
            yield page
        after = positions[-1]


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """Yield where to write: a file appears whole, in the place of an earlier one, or not at all."""
    if output is None:
        yield typer.get_binary_stream("stdout")
        return
    if output.exists() and not output.is_file():
        raise BadSetting(f"--output {output} is not a file")
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)  # payloads may be private
    except OSError as exc:
        raise BadSetting(f"--output: cannot write {output} ({exc.strerror})") from exc
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 -- a descriptor has no path
            with contextlib.ExitStack() as stack:
                packed = output.suffix == ".gz"
                out = stack.enter_context(gzip.GzipFile("", "wb", 6, file, 0)) if packed else file
                yield cast("BinaryIO", out)
            file.flush()
            os.fsync(fd)
        part.replace(output)
    except OSError as exc:
        raise DistriQueueError(f"cannot write {output} ({exc.strerror})") from exc
    finally:
        part.unlink(missing_ok=True)


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        if len(text) == len("2030-01-31"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("it has no offset")
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise BadSetting(f"{option} must be a date or a time with its offset, such as 2030-01-31T12:00:00Z") from exc


def _shows_progress(out: BinaryIO) -> bool:
    """Tell whether somebody looks, and does not see the jobs themselves."""
    return sys.stderr.isatty() and not out.isatty()
