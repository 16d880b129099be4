"""`jobs watch`: transitions as they happen; of one job until its end."""

import asyncio
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from distriqueue.cli import arguments, completion
from distriqueue.cli.errors import printable
from distriqueue.cli.exits import Exit
from distriqueue.cli.gateway import Gateway, advised
from distriqueue.cli.help import examples
from distriqueue.cli.home import Callee, gateway
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import coloured, console, note, short, write_json_line
from distriqueue.cli.selecting import FilterOption, StatusOption, TypeOption, chosen, now, only
from distriqueue.cli.waiting import PATIENCE_S, error_of, events
from distriqueue.core.errors import BadSetting
from distriqueue.core.states import TERMINAL, Status
from distriqueue.filterlang import Field
from distriqueue.sdk.exchange import Query
from distriqueue.sdk.models import JobEvent
from distriqueue.sdk.stream import Gap
from distriqueue.sdk.transport import AsyncTransport

MISSING: Final = "`distriqueue jobs list` shows the newest"
EXAMPLES: Final = examples(
    "distriqueue jobs watch",
    'distriqueue jobs watch --filter "status:failed,timeout type:calculate"',
    "distriqueue jobs watch 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
    "distriqueue jobs watch --count 100 -o json",
)


def watch(
    job_id: Annotated[
        UUID | None,
        typer.Argument(
            metavar="[ID]", parser=arguments.job_id, autocompletion=completion.jobs, help="One job, until it ends."
        ),
    ] = None,
    *,
    filters: FilterOption = None,
    status: StatusOption = None,
    type_: TypeOption = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Follow jobs live, an event a line; of one job, the exit code is 1 unless it completes."""
    where = chosen(filters, status=status, type=type_)
    if job_id is not None and where:
        raise BadSetting("give either an id, or a filter")
    only(where, Field.STATUS, Field.TYPE, Field.BATCH, what="the live stream")
    callee = gateway(home, url)
    with Gateway(callee) as found:  # is it there at all? The stream itself would wait for it
        found.call(
            "GET", f"/jobs/{job_id}" if job_id else "/jobs", query={} if job_id else {"size": 1}, missing=MISSING
        )
    query: Query = {"jobId": str(job_id)} if job_id else where.query(now())
    ended = asyncio.run(_follow(callee, query, job_id, count, output))
    if ended is None:
        return
    note(error_of(ended) if ended["status"] != Status.COMPLETED else f"job {job_id} has completed")
    if ended["status"] != Status.COMPLETED:
        raise typer.Exit(Exit.FAILED)


async def _follow(
    callee: Callee, query: Query, job_id: UUID | None, count: int | None, output: Output
) -> dict[str, Any] | None:
    """Print events; return the job, if it is one, once it has ended."""
    url = callee.urls[0] if callee.urls else None
    seen = 0
    async with AsyncTransport(url, api_key=callee.key, retry_for_s=PATIENCE_S) as transport:
        with advised(transport.url, missing=MISSING):
            async for event in events(transport, query):
                if isinstance(event, JobEvent):
                    _print(event, output)
                    seen += 1
                if job_id is not None and (isinstance(event, Gap) or event.is_end):
                    job: dict[str, Any] = await transport.call("GET", f"/api/jobs/{job_id}")
                    if Status(job["status"]) in TERMINAL:
                        return job
                if count is not None and seen >= count:
                    return None
    return None


def _print(event: JobEvent, output: Output) -> None:
    if output is Output.JSON:
        write_json_line(event.model_dump(mode="json", by_alias=True, exclude_none=True))
        return
    parts = [f"{event.timestamp:%H:%M:%S}", str(event.job_id), printable(event.type), f"#{event.attempt}"]
    more = " ".join(
        text
        for text in (
            event.worker_id,
            None if event.progress is None else f"{event.progress:g} %",
            short(event.progress_message, 60),
        )
        if text
    )
    line = coloured(event.status)
    line.pad_right(max(9 - len(event.status), 0))
    console().print(*parts[:2], line, *parts[2:], printable(more), markup=False, soft_wrap=True)
