"""`distriqueue submit`: one job, and its end if that is waited for."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import typer

from distriqueue.cli import arguments, completion
from distriqueue.cli.arguments import moment_of, payload_of, seconds_of
from distriqueue.cli.exits import Exit
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples
from distriqueue.cli.home import gateway
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import note, write_json
from distriqueue.cli.waiting import error_of, job_end
from distriqueue.core.errors import BadSetting
from distriqueue.core.job import MAX_RETRIES_BOUND, Priority
from distriqueue.core.states import Status
from distriqueue.sdk.transport import IDEMPOTENCY_KEY, new_idempotency_key

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PATIENCE_S: Final = 3.0
"""A lost reply is asked for again: the key keeps it one job."""


@app.command(
    epilog=examples(
        "distriqueue submit calculate --payload '{\"numbers\": [1, 2, 3]}' --wait",
        "distriqueue submit resize --payload @picture.json --priority high --tag nightly --tag pictures",
        'echo \'{"data": "hello"}\' | distriqueue submit transform --payload - --schedule-at 10m',
        "distriqueue submit report --unique-key report-2030-01 --on-conflict return_existing -o json",
    )
)
def submit(
    type_: Annotated[
        str, typer.Argument(metavar="TYPE", autocompletion=completion.job_types, help="Which handler runs it.")
    ],
    *,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE|-", help="What the handler gets: an object; - reads it.")
    ] = None,
    priority: Annotated[Priority, typer.Option("--priority", "-p", case_sensitive=False)] = Priority.MEDIUM,
    tag: Annotated[list[str] | None, typer.Option(help="A label to filter by; several if given again.")] = None,
    depends_on: Annotated[
        list[UUID] | None,
        typer.Option(
            metavar="ID",
            parser=arguments.job_id,
            autocompletion=completion.jobs,
            help="A job that must have completed first.",
        ),
    ] = None,
    schedule_at: Annotated[
        str | None, typer.Option(metavar="TIME|10m", help="Not before this time, or so long from now.")
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option(min=0, max=MAX_RETRIES_BOUND, help="How often a failed attempt is tried again.")
    ] = None,
    execution_timeout: Annotated[str | None, typer.Option(metavar="5m", help="How long one attempt may run.")] = None,
    unique_key: Annotated[str | None, typer.Option(help="No two unfinished jobs have the same.")] = None,
    on_conflict: Annotated[
        Literal["reject", "return_existing"], typer.Option(help="When the unique key is taken.")
    ] = "reject",
    concurrency_key: Annotated[str | None, typer.Option(help="Jobs with the same one take turns.")] = None,
    callback_url: Annotated[str | None, typer.Option(help="Gets a signed webhook when the job has ended.")] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="Submitted again with the same one, it is the same job; one is drawn if not given."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Until it has ended; print its result.")] = False,
    timeout: Annotated[str | None, typer.Option(metavar="60s", help="How long to wait at most.")] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit a job; print its id, with --wait its result. The exit code is 1 if it is waited for and fails."""
    if timeout is not None and not wait:
        raise BadSetting("--timeout is how long to --wait: give both")
    if unique_key is None and on_conflict != "reject":
        raise BadSetting("--on-conflict says what to do when a --unique-key is taken: give both")
    fields: dict[str, Any] = {
        "type": type_,
        "priority": priority.value,
        "payload": payload_of(payload),
        "tags": tag,
        "dependsOn": [str(each) for each in depends_on] if depends_on else None,
        "scheduleAt": moment_of(schedule_at, "--schedule-at"),
        "maxRetries": max_retries,
        "executionTimeout": seconds_of(execution_timeout, "--execution-timeout"),
        "uniqueKey": unique_key,
        "onConflict": on_conflict if unique_key else None,
        "concurrencyKey": concurrency_key,
        "callbackUrl": callback_url,
    }
    timeout_s = seconds_of(timeout, "--timeout")
    callee = gateway(home, url, as_operator=False)
    key = {IDEMPOTENCY_KEY: idempotency_key or new_idempotency_key()}
    with Gateway(callee, takes="submit", patience_s=PATIENCE_S) as found:
        body = {name: value for name, value in fields.items() if value is not None}
        answer = found.ask("POST", "/jobs", body=body, headers=key)
    job: dict[str, Any] = answer.body
    if answer.headers.get("idempotency-replayed") == "true":
        note("submitted before with this idempotency key: this is the same job")
    elif answer.status == 200:
        note("the unique key is taken: this is the job that has it")
    if wait:
        note(f"job {job['id']}")
        _waited(job_end(callee, job["id"], timeout_s=timeout_s), output)
    elif output is Output.JSON:
        write_json(job)
    else:
        # The id alone on standard output, so that it can be captured.
        typer.echo(job["id"])
        note(f"{job['status']}; `distriqueue jobs get {job['id']}` shows it")


def _waited(job: dict[str, Any], output: Output) -> None:
    """Print how it ended: of one that completed its result, as JSON."""
    completed = job["status"] == Status.COMPLETED
    if completed or output is Output.JSON:
        write_json(job if output is Output.JSON else job["result"])
    if not completed:
        note(error_of(job))
        raise typer.Exit(Exit.FAILED)
