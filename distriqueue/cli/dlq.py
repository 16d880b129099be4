"""`dlq list|replay`: what failed for good, in groups that failed alike."""

from typing import Annotated, Any, Final
from uuid import UUID

import typer

from distriqueue.cli import arguments, completion
from distriqueue.cli.arguments import past_of
from distriqueue.cli.bulk import Order, confirm, repeated
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.options import DEFAULT_HOME, DryRunOption, HomeOption, Output, OutputOption, UrlOption, YesOption
from distriqueue.cli.output import ago, note, plural, say, short, show, table, write_json
from distriqueue.core.errors import BadSetting

app = group("Dead letters: what failed for good, and running it again.", "dlq", "distriqueue dlq list")

PATH: Final = "/dead-letters/replay"
SinceOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME|2h", help="Ended at or after this time, or in the last so long.")
]
UntilOption = Annotated[str | None, typer.Option("--to", metavar="TIME|2h", help="Ended before.")]
TypeOption = Annotated[
    str | None, typer.Option("--type", "-t", autocompletion=completion.job_types, help="Only of this job type.")
]


@app.command("list", epilog=examples("distriqueue dlq list", "distriqueue dlq list --type calculate --from 1d -o json"))
def list_groups(
    *,
    type_: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="Most groups to show.")] = 50,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what failed for good, grouped by what went wrong, the most frequent first."""
    query = {"type": type_, "from": past_of(since, "--from"), "to": past_of(until, "--to"), "size": limit}
    with Gateway.of(home, url) as gateway:
        found = gateway.call("GET", "/dead-letters", query=query)
    if output is Output.JSON:
        write_json(found)
        return
    if not found["content"]:
        say("nothing has failed for good")
        return
    rows = (
        (
            each["fingerprint"],
            each["jobs"],
            each["type"],
            each["errorType"],
            short(each["message"], 60),
            ago(each["lastFailedAt"]),
            each["sampleJobId"],
        )
        for each in found["content"]
    )
    show(table(("FINGERPRINT", "JOBS", "TYPE", "ERROR", "MESSAGE", "LAST", "FOR EXAMPLE"), rows, right=("JOBS",)))
    if not found["complete"]:
        note("these are groups of the newest only; --type, --from and --to look further")


@app.command(
    epilog=examples(
        "distriqueue dlq replay 3f9a1c0d5b7e2a46 --dry-run",
        "distriqueue dlq replay 3f9a1c0d5b7e2a46 --per-second 5 --yes",
        "distriqueue dlq replay --type calculate --from 2h",
    )
)
def replay(
    fingerprint: Annotated[
        str | None,
        typer.Argument(metavar="[FINGERPRINT]", autocompletion=completion.fingerprints, help="As `dlq list` shows it."),
    ] = None,
    *,
    type_: TypeOption = None,
    job_id: Annotated[
        list[UUID] | None,
        typer.Option(
            "--id",
            metavar="ID",
            parser=arguments.job_id,
            autocompletion=completion.jobs,
            help="This job; several if given again.",
        ),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    per_second: Annotated[
        float | None, typer.Option(min=0.01, max=10_000, help="How many of them a second; all at once if not given.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run failed and timed out jobs again: those of a group, of a type, or single ones."""
    if fingerprint is None and type_ is None and not job_id:
        raise BadSetting("say which: by FINGERPRINT (`distriqueue dlq list` shows them), --type, or --id")
    fields: dict[str, Any] = {
        "fingerprint": fingerprint,
        "type": type_,
        "ids": [str(each) for each in job_id] if job_id else None,
        "from": past_of(since, "--from"),
        "to": past_of(until, "--to"),
        "perSecond": per_second,
    }
    order = {name: value for name, value in fields.items() if value is not None}
    with Gateway.of(home, url, takes="operate") as gateway:
        answer = gateway.call("POST", PATH, body=order | {"dryRun": True})
        would = f"{'at least ' if answer['more'] else ''}{plural(answer['matched'], 'job')} would run again"
        if answer["matched"] and not dry_run:
            if not yes:
                confirm(would, instead="--yes or --dry-run")
            answer = repeated(gateway, PATH, [Order(order)], done="replayed", what="replayed")
    if output is Output.JSON:
        write_json(answer)
    elif dry_run:
        say(f"{would}; nothing is done")
    else:
        more = "; there are more: run it again" if answer["more"] else ""
        say(f"{plural(answer['replayed'], 'job')} replayed{more}")
