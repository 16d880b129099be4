"""What `submit` and `schedules run` share: a key that keeps it one job, its id, and its end if that is waited for."""

from typing import Annotated, Any, Final

import typer

from distriqueue.cli.arguments import seconds_of
from distriqueue.cli.exits import Exit
from distriqueue.cli.home import Callee
from distriqueue.cli.options import Output
from distriqueue.cli.output import note, write_json
from distriqueue.cli.waiting import error_of, job_end
from distriqueue.core.errors import BadSetting
from distriqueue.core.states import Status
from distriqueue.sdk.exchange import Answer

PATIENCE_S: Final = 3.0
"""A lost reply is asked for again: the key keeps it one job."""
IdempotencyKeyOption = Annotated[
    str | None,
    typer.Option(help="Sent again with the same one, it is the same job; one is drawn if not given."),
]
WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Until it has ended; print its result.")]
TimeoutOption = Annotated[str | None, typer.Option(metavar="60s", help="How long to wait at most.")]


def wait_of(wait: bool, timeout: str | None) -> float | None:
    """Return how many seconds to wait at most; BadSetting when nothing is waited for."""
    if timeout is not None and not wait:
        raise BadSetting("--timeout is how long to --wait: give both")
    return seconds_of(timeout, "--timeout")


def finish(callee: Callee, answer: Answer, *, wait: bool, timeout_s: float | None, output: Output) -> None:
    """Print the job that an answer has: its id, or itself, or how it ended; the exit code is 1 if that is badly."""
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
