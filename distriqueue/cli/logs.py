"""`jobs logs`: what a job's handler wrote to `ctx.log`; with --follow, until the job has ended."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from rich.text import Text

from distriqueue.cli import arguments, completion
from distriqueue.cli.errors import printable
from distriqueue.cli.exits import Exit
from distriqueue.cli.gateway import MAX_PAGES, Gateway, advised
from distriqueue.cli.help import examples
from distriqueue.cli.home import Callee, gateway
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import compact, console, note, write_json, write_json_line
from distriqueue.cli.waiting import PATIENCE_S, error_of, events
from distriqueue.cli.watch import MISSING
from distriqueue.core.states import TERMINAL, Status
from distriqueue.sdk.exchange import Query
from distriqueue.sdk.transport import AsyncTransport

LOOK_S: Final = 1.0
"""Nothing tells of new lines: between a job's events they are asked for this often."""
START: Final = "0-0"
STYLES: Final = {"warning": "yellow", "error": "red", "critical": "bold red"}
EXAMPLES: Final = examples(
    "distriqueue jobs logs 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
    "distriqueue jobs logs 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10 --follow",
    "distriqueue jobs logs 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10 --attempt 2 -o json",
)


def logs(
    job_id: Annotated[
        UUID,
        typer.Argument(
            metavar="ID",
            parser=arguments.job_id,
            autocompletion=completion.jobs,
            help="The job's id, as `jobs list` shows it.",
        ),
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Only the lines of this attempt; all if not given.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what a job's handler has logged; with --follow, the exit code is 1 unless the job completes."""
    callee = gateway(home, url)
    path = f"/jobs/{job_id}/logs"
    if follow:
        with Gateway(callee) as found:  # is it there at all? A stream would wait for it
            found.call("GET", f"/jobs/{job_id}", missing=MISSING)
        ended = asyncio.run(_follow(callee, job_id, attempt, output))
        note(error_of(ended) if ended["status"] != Status.COMPLETED else f"job {job_id} has completed")
        if ended["status"] != Status.COMPLETED:
            raise typer.Exit(Exit.FAILED)
        return
    lines: list[dict[str, Any]] = []
    with Gateway(callee) as found:
        for _ in range(MAX_PAGES):
            answer = found.ask("GET", path, query=_query(attempt, lines), missing=MISSING)
            lines += answer.body
            if "link" not in answer.headers:
                break
    if output is Output.JSON:
        write_json(lines)
        return
    for line in lines:
        _print(line, output)
    if not lines:
        note("nothing was logged, as far as is known: a handler logs by its context's `log`")


async def _follow(callee: Callee, job_id: UUID, attempt: int | None, output: Output) -> dict[str, Any]:
    """Print lines as they come; return the job once it has ended."""
    url = callee.urls[0] if callee.urls else None
    news = asyncio.Event()
    seen: list[dict[str, Any]] = []
    async with AsyncTransport(url, api_key=callee.key, retry_for_s=PATIENCE_S) as transport:
        with advised(transport.url, missing=MISSING):
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(_listen(transport, job_id, news))
                while True:
                    # Its end comes with its last lines: of a job that has ended, what is read after it is all.
                    job: dict[str, Any] = await transport.call("GET", f"/api/jobs/{job_id}")
                    seen = await _more(transport, job_id, attempt, seen, output)
                    if Status(job["status"]) in TERMINAL:
                        listening.cancel()
                        return job
                    try:
                        async with asyncio.timeout(LOOK_S):
                            await news.wait()
                    except TimeoutError:
                        continue
                    news.clear()


async def _listen(transport: AsyncTransport, job_id: UUID, news: asyncio.Event) -> None:
    async for _ in events(transport, {"jobId": str(job_id)}):
        news.set()


async def _more(
    transport: AsyncTransport, job_id: UUID, attempt: int | None, seen: list[dict[str, Any]], output: Output
) -> list[dict[str, Any]]:
    """Print the lines behind the last one that was seen; return that which is it now."""
    for _ in range(MAX_PAGES):
        answer = await transport.ask("GET", f"/api/jobs/{job_id}/logs", query=_query(attempt, seen))
        for line in answer.body:
            _print(line, output)
        seen = answer.body[-1:] or seen
        if "link" not in answer.headers:
            break
    return seen


def _query(attempt: int | None, seen: list[dict[str, Any]]) -> Query:
    return {"attempt": attempt, "after": f"{seen[-1]['attempt']}-{seen[-1]['n']}" if seen else START}


def _print(line: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        write_json_line(line)
        return
    at = datetime.fromisoformat(line["timestamp"])
    shown = Text.assemble(
        f"{at:%H:%M:%S.%f}"[:-3] + f" #{line['attempt']} ",
        (f"{line['level']:8}", STYLES.get(line["level"], "")),
        f" {printable(line['message'])}",
    )
    for name, value in (line["fields"] or {}).items():
        # A traceback stands on lines of its own, as it was.
        said = f"\n{printable(value.rstrip())}" if name == "traceback" else f" {printable(f'{name}={compact(value)}')}"
        shown.append(said, style="dim")
    console().print(shown, soft_wrap=True)
