"""`distriqueue submit`: one job, and its end if that is waited for."""

from typing import Annotated, Any, Literal
from uuid import UUID

import typer

from distriqueue.cli import arguments, completion
from distriqueue.cli.arguments import moment_of, payload_of, seconds_of
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples
from distriqueue.cli.home import gateway
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.submitted import (
    PATIENCE_S,
    IdempotencyKeyOption,
    TimeoutOption,
    WaitOption,
    finish,
    wait_of,
)
from distriqueue.core.errors import BadSetting
from distriqueue.core.job import MAX_RETRIES_BOUND, Priority
from distriqueue.sdk.transport import IDEMPOTENCY_KEY, new_idempotency_key

app = typer.Typer(rich_markup_mode=None, add_completion=False)


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
    idempotency_key: IdempotencyKeyOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit a job; print its id, with --wait its result. The exit code is 1 if it is waited for and fails."""
    timeout_s = wait_of(wait, timeout)
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
    callee = gateway(home, url, as_operator=False)
    key = {IDEMPOTENCY_KEY: idempotency_key or new_idempotency_key()}
    with Gateway(callee, takes="submit", patience_s=PATIENCE_S) as found:
        body = {name: value for name, value in fields.items() if value is not None}
        answer = found.ask("POST", "/jobs", body=body, headers=key)
    finish(callee, answer, wait=wait, timeout_s=timeout_s, output=output)
