"""Looking at jobs, and acting on them: `jobs list|get|explain|events|attempts|logs|watch|cancel|retry`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import typer

from distriqueue.cli import actions, arguments, completion, logs, watch
from distriqueue.cli.errors import printable
from distriqueue.cli.gateway import MAX_PAGES, Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import (
    Cell,
    ago,
    coloured,
    compact,
    fields,
    milliseconds,
    note,
    plural,
    say,
    short,
    show,
    table,
    write_json,
)
from distriqueue.cli.selecting import FilterOption, PriorityOption, StatusOption, TagOption, TypeOption, chosen, now
from distriqueue.cli.watch import MISSING

app = group("Look at jobs, follow them, cancel and retry them.", "jobs", "distriqueue jobs list --filter status:failed")

MAX_LISTED: Final = 100_000
JobArgument = Annotated[
    UUID,
    typer.Argument(
        metavar="ID",
        parser=arguments.job_id,
        autocompletion=completion.jobs,
        help="The job's id, as `jobs list` shows it.",
    ),
]


@app.command(
    "list",
    epilog=examples(
        "distriqueue jobs list",
        'distriqueue jobs list --filter "status:failed type:calculate created:<1d" --limit 100',
        "distriqueue jobs list -s running -o json",
    ),
)
def list_jobs(
    filters: FilterOption = None,
    *,
    status: StatusOption = None,
    type_: TypeOption = None,
    priority: PriorityOption = None,
    tag: TagOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, help="Most jobs to show.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List jobs, the newest first."""
    where = chosen(filters, status=status, type=type_, priority=priority, tag=tag)
    with Gateway.of(home, url) as gateway:
        pages = list(gateway.pages("/jobs", where.query(now()), limit=limit))
    jobs = [job for page in pages for job in page["content"]]
    total, estimate, cursor = pages[0]["totalElements"], pages[0]["totalIsEstimate"], pages[-1]["nextCursor"]
    if output is Output.JSON:
        write_json({"content": jobs, "totalElements": total, "totalIsEstimate": estimate, "nextCursor": cursor})
        return
    if not jobs:
        say(f"no jobs match {where}" if where else "there are no jobs yet: `distriqueue submit` makes one")
        return
    at = datetime.now(UTC)
    headings = ("ID", "TYPE", "STATUS", "PRIORITY", "ATTEMPT", "CREATED", "RAN", "ERROR")
    show(table(headings, (_row(job, at) for job in jobs), right=("ATTEMPT",)))
    if total > len(jobs):
        note(f"{len(jobs)} of {'about ' if estimate else ''}{plural(total, 'job')}; --limit shows more")


@app.command(
    epilog=examples(
        "distriqueue jobs get 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
        "distriqueue jobs get 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10 -o json",
    )
)
def get(
    job_id: JobArgument,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a job, with its payload and result; why it waits, if it does."""
    with Gateway.of(home, url) as gateway:
        job = gateway.call("GET", f"/jobs/{job_id}", missing=MISSING)
        if output is Output.JSON:
            write_json(job)
            return
        why = gateway.call("GET", f"/jobs/{job_id}/explain", missing=MISSING)
    show(fields(_details(job, why)))
    error = job["error"] or {}
    if error.get("traceback"):
        say(f"\n{error['traceback'].rstrip()}")


@app.command(epilog=examples("distriqueue jobs explain 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10"))
def explain(
    job_id: JobArgument,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why a job is where it is: what it waits for, or how it ended."""
    with Gateway.of(home, url) as gateway:
        why = gateway.call("GET", f"/jobs/{job_id}/explain", missing=MISSING)
    if output is Output.JSON:
        write_json(why)
        return
    for reason in why["reasons"]:
        say(f"{why['status']}: {reason['message']}")


@app.command(
    epilog=examples(
        "distriqueue jobs events 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
        "distriqueue jobs events 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10 -o json",
    )
)
def events(
    job_id: JobArgument,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a job's timeline: every transition, and its steps of progress."""
    with Gateway.of(home, url) as gateway:
        found = _timeline(gateway, job_id)
    if output is Output.JSON:
        write_json(found)
        return
    rows = (
        (
            each["timestamp"],
            coloured(each["status"]),
            each["attempt"],
            each["workerId"],
            None if each["progress"] is None else f"{each['progress']:g} %",
            each["progressMessage"],
        )
        for each in found
    )
    show(table(("TIME", "STATUS", "ATTEMPT", "WORKER", "PROGRESS", "MESSAGE"), rows, right=("ATTEMPT", "PROGRESS")))


@app.command(epilog=examples("distriqueue jobs attempts 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10"))
def attempts(
    job_id: JobArgument,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show every attempt of a job: on which worker, for how long, how it ended."""
    with Gateway.of(home, url) as gateway:
        found = gateway.call("GET", f"/jobs/{job_id}/attempts", missing=MISSING)
    if output is Output.JSON:
        write_json(found)
        return
    rows = (
        (
            each["attempt"],
            coloured(each["outcome"]),
            each["workerId"],
            each["startedAt"],
            milliseconds(each["executionTimeMs"]),
            short((each["error"] or {}).get("message")),
        )
        for each in found
    )
    show(table(("ATTEMPT", "OUTCOME", "WORKER", "STARTED", "RAN", "ERROR"), rows, right=("ATTEMPT", "RAN")))


app.command("logs", epilog=logs.EXAMPLES)(logs.logs)
app.command("watch", epilog=watch.EXAMPLES)(watch.watch)
app.command("cancel", epilog=actions.CANCEL_EXAMPLES)(actions.cancel)
app.command("retry", epilog=actions.RETRY_EXAMPLES)(actions.retry)


def _timeline(gateway: Gateway, job_id: UUID) -> list[dict[str, Any]]:
    """Return all events, page by page."""
    found: list[dict[str, Any]] = []
    for _ in range(MAX_PAGES):
        after = found[-1]["id"] if found else 0
        answer = gateway.ask("GET", f"/jobs/{job_id}/events", query={"after": after}, missing=MISSING)
        found += answer.body
        if "link" not in answer.headers:
            break
    return found


def _row(job: dict[str, Any], at: datetime) -> tuple[Cell, ...]:
    error = job["error"] or {}
    return (
        job["id"],
        job["type"],
        coloured(job["status"]),
        job["priority"].lower(),
        job["attempt"],
        ago(job["createdAt"], at),
        milliseconds(job["executionTimeMs"]),
        short(error.get("message"), 40),
    )


def _details(job: dict[str, Any], why: dict[str, Any]) -> list[tuple[str, Cell]]:
    error = job["error"] or {}
    progress = None if job["progress"] is None else f"{job['progress']:g} % {job['progressMessage'] or ''}"
    kind = f"{error['type']}: " if error.get("type") else ""
    callback = job["callbackUrl"]
    return [
        ("id", job["id"]),
        ("type", job["type"]),
        ("status", coloured(job["status"])),
        ("why", printable(why["summary"])),
        ("priority", job["priority"].lower()),
        ("attempt", f"{job['attempt']}, {plural(job['failures'], 'failure')} of at most {job['maxRetries'] + 1}"),
        ("worker", job["workerId"]),
        ("progress", progress),
        ("tags", ", ".join(job["tags"])),
        ("batch", job["batchId"]),
        ("schedule", job["scheduleName"]),
        ("waits for", ", ".join(job["dependsOn"])),
        ("unique key", job["uniqueKey"]),
        ("concurrency", job["concurrencyKey"] and f"{job['concurrencyKey']}, at most {job['concurrencyLimit']}"),
        ("callback", callback and urlsplit(callback)._replace(query="").geturl()),
        ("created", f"{job['createdAt']} ({ago(job['createdAt'])})"),
        ("not before", job["scheduleAt"]),
        ("started", job["startedAt"]),
        ("finished", job["finishedAt"]),
        ("queued for", milliseconds(job["queueTimeMs"])),
        ("ran for", milliseconds(job["executionTimeMs"])),
        ("payload", compact(job["payload"])),
        ("metadata", compact(job["metadata"])),
        ("result", compact(job["result"])),
        ("error", error.get("message") and f"{kind}{error['message']}"),
    ]
