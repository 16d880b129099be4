"""`jobs cancel` and `jobs retry`: one, several, or all that a filter matches."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import typer

from distriqueue.cli import arguments, completion
from distriqueue.cli.bulk import Order, confirm, repeated
from distriqueue.cli.exits import Exit
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples
from distriqueue.cli.options import DEFAULT_HOME, DryRunOption, HomeOption, Output, OutputOption, UrlOption, YesOption
from distriqueue.cli.output import note, plural, say, write_json
from distriqueue.cli.selecting import FilterOption, chosen, now
from distriqueue.cli.watch import MISSING
from distriqueue.core.errors import BadSetting
from distriqueue.core.states import TERMINAL, Status
from distriqueue.filterlang import Filter

Action = Literal["cancel", "retry"]

_DONE: Final = {"cancel": "cancelled", "retry": "retried"}
_POSSIBLE: Final = {"cancel": "not over", "retry": "failed, timed out or cancelled"}
_IMPOSSIBLE: Final = {"cancel": "over", "retry": "neither failed, timed out nor cancelled"}
PATH: Final = "/jobs/actions"

CANCEL_EXAMPLES: Final = examples(
    "distriqueue jobs cancel 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
    'distriqueue jobs cancel --filter "status:scheduled tag:nightly" --dry-run',
)
RETRY_EXAMPLES: Final = examples(
    "distriqueue jobs retry 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
    'distriqueue jobs retry --filter "status:failed type:calculate created:<1d" --yes',
)

JobsArgument = Annotated[
    list[UUID] | None,
    typer.Argument(metavar="ID...", parser=arguments.job_id, autocompletion=completion.jobs, help="Which jobs."),
]
AllOption = Annotated[bool, typer.Option("--all", help="Meant for all jobs, without a filter.")]


def cancel(
    job_ids: JobsArgument = None,
    *,
    filters: FilterOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Cancel jobs that are not over; of one that runs, its worker is told."""
    _act("cancel", job_ids, filters, every=every, dry_run=dry_run, yes=yes, to=(home, url), output=output)


def retry(
    job_ids: JobsArgument = None,
    *,
    filters: FilterOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run jobs again that failed, timed out or were cancelled; their history is kept."""
    _act("retry", job_ids, filters, every=every, dry_run=dry_run, yes=yes, to=(home, url), output=output)


def _act(
    action: Action,
    job_ids: list[UUID] | None,
    filters: list[str] | None,
    *,
    every: bool,
    dry_run: bool,
    yes: bool,
    to: tuple[Any, str | None],
    output: Output,
) -> None:
    where = chosen(filters)
    if job_ids and (where or every):
        raise BadSetting("give either ids, or --filter, or --all")
    if not job_ids and not where and not every:
        raise BadSetting('say which jobs: by their ids, by --filter "status:failed", or all of them by --all')
    with Gateway.of(*to, takes="operate") as gateway:
        if job_ids and len(job_ids) == 1 and not dry_run:
            _one(gateway, action, job_ids[0], output)
            return
        selection: dict[str, Any] = {"ids": [str(each) for each in job_ids]} if job_ids else where.selection(now())
        order = {"action": action, "filter": selection, "all": every and not where}
        answer = gateway.call("POST", PATH, body=order | {"dryRun": True})
        if answer["matched"] and not dry_run:
            if not (job_ids or yes):
                confirm(_would(action, answer), instead="--yes or --dry-run")
            orders = [Order(order)] if job_ids or action == "retry" else _cancels(order, where)
            answer = repeated(gateway, PATH, orders, done="changed", what=_DONE[action])
    if output is Output.JSON:
        write_json(answer)
    elif dry_run:
        say(f"{_would(action, answer)}; nothing is done")
    else:
        skipped = f"; {answer['skipped']:,} could not be: changed by others meanwhile" if answer["skipped"] else ""
        more = "; there are more: run it again" if answer["more"] else ""
        say(f"{plural(answer['changed'], 'job')} {_DONE[action]}{skipped}{more}")
    left = 0 if dry_run or not job_ids else len(set(job_ids)) - answer["changed"]
    if left:
        note(f"{plural(left, 'job')} of those named could not be: {_IMPOSSIBLE[action]}, or unknown")
        raise typer.Exit(Exit.FAILED)


def _cancels(order: dict[str, Any], where: Filter) -> list[Order]:
    """Split what waits from what runs: the latter matches until its worker has heard of it, so it is told once."""
    wanted = set(where.statuses or Status) - TERMINAL
    waiting = sorted(wanted - {Status.RUNNING})
    orders = []
    for statuses, once in ((waiting, False), (sorted(wanted & {Status.RUNNING}), True)):
        if statuses:
            orders.append(Order(order | {"filter": order["filter"] | {"status": statuses}, "all": False}, once=once))
    return orders or [Order(order)]


def _one(gateway: Gateway, action: Action, job_id: UUID, output: Output) -> None:
    answer = gateway.ask("POST", f"/jobs/{job_id}/{action}", missing=MISSING)
    if output is Output.JSON:
        write_json(answer.body)
    elif answer.status == 202:
        say(f"job {job_id} runs: its worker is told to cancel it")
    else:
        say(f"job {job_id} is {_DONE[action] if action == 'cancel' else answer.body['status']}")


def _would(action: Action, counted: dict[str, Any]) -> str:
    at_least = "at least " if counted["more"] else ""
    jobs = plural(counted["matched"], "job")
    return f"{at_least}{jobs} would be {_DONE[action]} (those that match and are {_POSSIBLE[action]})"
