"""`batches list|get`: how far jobs are that came together."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from distriqueue.cli import arguments, completion
from distriqueue.cli.arguments import seconds_of
from distriqueue.cli.exits import Exit
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.home import gateway
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import Cell, ago, coloured, fields, note, say, show, table, write_json
from distriqueue.cli.waiting import batch_end
from distriqueue.core.errors import BadSetting
from distriqueue.core.states import Status

app = group(
    "Look at jobs that were submitted together.",
    "batches",
    "distriqueue batches list",
    "distriqueue batches get 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
)

SHOWN = 20
MAX_LISTED = 10_000
HEADINGS = ("ID", "NAME", "STATE", "JOBS", "ENDED", "FAILED", "CREATED")
MISSING = "`distriqueue batches list` shows the newest"
FAILURES = (Status.FAILED, Status.TIMEOUT, Status.CANCELLED)


@app.command("list", epilog=examples("distriqueue batches list", "distriqueue batches list --limit 100 -o json"))
def list_batches(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, help="Most batches to show.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how far batches are, the newest first."""
    with Gateway.of(home, url) as found:
        pages = list(found.pages("/batches", {}, limit=limit))
    batches = [batch for page in pages for batch in page["content"]]
    if output is Output.JSON:
        write_json({"content": batches, "nextCursor": pages[-1]["nextCursor"]})
        return
    if not batches:
        say("there are no batches: jobs of one `POST /api/jobs/batch`, or of one `submit_many`, make one")
        return
    show(table(HEADINGS, map(_row, batches), right=HEADINGS[3:6]))
    if pages[-1]["nextCursor"] is not None:
        note("there are older ones; --limit shows more")


@app.command(
    epilog=examples(
        "distriqueue batches get 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
        "distriqueue batches get 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10 --wait --timeout 10m -o json",
    )
)
def get(
    batch_id: Annotated[
        UUID,
        typer.Argument(
            metavar="ID", parser=arguments.batch_id, autocompletion=completion.batches, help="The batch's id."
        ),
    ],
    *,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Until all of its jobs have ended.")] = False,
    timeout: Annotated[str | None, typer.Option(metavar="60s", help="How long to wait at most.")] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a batch: how many of its jobs are where. With --wait, the exit code is 1 unless all have completed."""
    if timeout is not None and not wait:
        raise BadSetting("--timeout is how long to --wait: give both")
    timeout_s = seconds_of(timeout, "--timeout")
    callee = gateway(home, url)
    with Gateway(callee) as found:
        batch = found.call("GET", f"/batches/{batch_id}", missing=MISSING)
    if wait and not batch["finished"]:
        batch = batch_end(callee, str(batch_id), timeout_s=timeout_s)
    if output is Output.JSON:
        write_json(batch)
    else:
        _show(batch)
    if wait and batch["byStatus"].get(Status.COMPLETED, 0) < sum(batch["byStatus"].values()):
        raise typer.Exit(Exit.FAILED)


def _row(batch: dict[str, Any]) -> tuple[Cell, ...]:
    by_status = batch["byStatus"]
    state = "stopped" if batch["stopped"] else "finished" if batch["finished"] else "running"
    return (
        batch["id"],
        batch["name"],
        Text(state, style={"stopped": "red", "finished": "green"}.get(state, "cyan")),
        batch["totalJobs"],
        f"{batch['progress']:g} %",
        sum(by_status.get(status, 0) for status in FAILURES),
        ago(batch["createdAt"]),
    )


def _show(batch: dict[str, Any]) -> None:
    ways = [
        name for name, on in (("sequential", batch["sequential"]), ("stops on failure", batch["stopOnFailure"])) if on
    ]
    pairs: list[tuple[str, Cell]] = [
        ("id", batch["id"]),
        ("name", batch["name"]),
        ("finished", "yes" if batch["finished"] else f"no, {batch['progress']:g} % have ended"),
        ("stopped", "by a failure" if batch["stopped"] else None),
        ("way", ", ".join(ways)),
        ("at most at once", batch["maxConcurrent"]),
        ("jobs", batch["totalJobs"]),
        *((f"  {status}", count) for status, count in batch["byStatus"].items()),
        ("created", f"{batch['createdAt']} ({ago(batch['createdAt'])})"),
        ("ended", batch["finishedAt"]),
    ]
    show(fields(pairs))
    jobs = sorted(batch["jobs"], key=lambda job: job["status"] == Status.COMPLETED)
    rows = ((job["id"], job["type"], coloured(job["status"])) for job in jobs[:SHOWN])
    show(table(("ID", "TYPE", "STATUS"), rows))
    if batch["totalJobs"] > SHOWN:
        note(f'`distriqueue jobs list --filter "batch:{batch["id"]}"` shows all {batch["totalJobs"]:,}')
