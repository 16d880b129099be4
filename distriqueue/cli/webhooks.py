"""`webhooks list|replay`: what a job's or batch's `callbackUrl` was told."""

from typing import Annotated, Any
from uuid import UUID

import typer

from distriqueue.cli import arguments, completion
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples, group
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import Cell, ago, coloured, say, short, show, table, write_json
from distriqueue.core.errors import BadSetting

app = group(
    "Webhooks: what was sent to a callbackUrl, and sending it again.",
    "webhooks",
    "distriqueue webhooks list 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
)

HEADINGS = ("ID", "EVENT", "STATUS", "TRIES", "CREATED", "ANSWER", "URL")


@app.command(
    "list",
    epilog=examples(
        "distriqueue webhooks list 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
        "distriqueue webhooks list --batch 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10 -o json",
    ),
)
def list_webhooks(
    job_id: Annotated[
        UUID | None,
        typer.Argument(
            metavar="[JOB]", parser=arguments.job_id, autocompletion=completion.jobs, help="Whose webhooks."
        ),
    ] = None,
    *,
    batch: Annotated[
        UUID | None,
        typer.Option(
            metavar="ID",
            parser=arguments.batch_id,
            autocompletion=completion.batches,
            help="Those of a batch instead of a job.",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what was sent to the callbackUrl of a job or a batch, the newest first."""
    if (job_id is None) == (batch is None):
        raise BadSetting("say whose webhooks: the id of a job, or --batch and the id of a batch")
    owner = f"/jobs/{job_id}" if job_id else f"/batches/{batch}"
    with Gateway.of(home, url) as gateway:
        found = gateway.call("GET", f"{owner}/webhooks", missing="`distriqueue jobs list` shows the newest jobs")
    if output is Output.JSON:
        write_json(found)
    elif found:
        show(table(HEADINGS, map(_row, found), right=("TRIES",)))
    else:
        say("none was sent: it has no callbackUrl, or has not ended")


@app.command(epilog=examples("distriqueue webhooks replay 0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10"))
def replay(
    webhook_id: Annotated[
        UUID, typer.Argument(metavar="ID", parser=arguments.webhook_id, help="As `webhooks list` shows it.")
    ],
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a webhook once more, delivered or not; its receiver knows it by the same `webhook-id`."""
    with Gateway.of(home, url, takes="operate") as gateway:
        sent = gateway.call(
            "POST", f"/webhooks/{webhook_id}/replay", missing="`distriqueue webhooks list JOB` shows them"
        )
    if output is Output.JSON:
        write_json(sent)
    else:
        say(f"webhook {webhook_id} is sent again to {sent['url']}, as {sent['id']}")


def _row(delivery: dict[str, Any]) -> tuple[Cell, ...]:
    answer, error = delivery["answer"] or {}, delivery["error"] or {}
    return (
        delivery["id"],
        delivery["event"],
        coloured(delivery["status"]),
        delivery["attempt"],
        ago(delivery["createdAt"]),
        str(answer["status"]) if "status" in answer else short(error.get("message"), 40),
        short(delivery["url"], 60),
    )
