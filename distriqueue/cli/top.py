"""`distriqueue top`: queues, throughput, workers and the leader, drawn again and again."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from distriqueue.cli import cluster, queues, workers
from distriqueue.cli.exits import NoStack
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.help import examples
from distriqueue.cli.home import Callee, orchestrators
from distriqueue.cli.options import DEFAULT_HOME, HomeOption, OrchestratorsOption, Output, OutputOption, UrlOption
from distriqueue.cli.output import coloured, console, milliseconds, show, table, write_json, write_json_line
from distriqueue.core.errors import DistriQueueError, Unavailable
from distriqueue.core.states import Status

app = typer.Typer(rich_markup_mode=None, add_completion=False)

SHOWN_WORKERS: Final = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything at one moment."""

    at_s: float
    """Of a clock that only goes on."""
    queues: list[dict[str, Any]]
    statistics: dict[str, Any]
    workers: list[dict[str, Any]]
    nodes: cluster.Said | None

    def done(self) -> dict[str, int]:
        """Return how many jobs have ever been submitted, have completed, have failed."""
        groups = self.statistics["byPriority"]
        return {name: sum(group[name] for group in groups) for name in ("total", "completed", "failed")}


@app.command(
    epilog=examples("distriqueue top", "distriqueue top --interval 5 --url http://gw:8080", "distriqueue top --once")
)
def top(
    *,
    interval: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    urls: OrchestratorsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Watch queues, throughput, workers and the leader, live; Ctrl-C ends it."""
    nodes = _nodes(home, urls)
    with Gateway.of(home, url) as gateway:
        sample = _sample(gateway, nodes)
        if once:
            _once(gateway.url, sample, output)
            return
        if output is Output.JSON:
            while True:
                write_json_line(_as_json(sample))
                time.sleep(interval)
                sample = _sample(gateway, nodes)
        before: Sample | None = None
        with Live(console=console(), auto_refresh=False, screen=console().is_terminal) as live:
            live.update(frame(gateway.url, sample, before), refresh=True)
            while True:
                time.sleep(interval)
                try:
                    before, sample = sample, _sample(gateway, nodes)
                    live.update(frame(gateway.url, sample, before), refresh=True)
                except Unavailable as exc:
                    said = Text(exc.message.partition(": ")[0], style="bold red")
                    live.update(Group(said, frame(gateway.url, sample, None)), refresh=True)


def frame(url: str, sample: Sample, before: Sample | None) -> RenderableType:
    """Draw a sample; rates are those since the one before."""
    return Group(
        _head(url, sample),
        _throughput(sample, before),
        Text(),
        table(queues.HEADINGS, map(queues.row, sample.queues), right=queues.FIGURES),
        Text(),
        table(workers.HEADINGS, map(workers.row, sample.workers[:SHOWN_WORKERS]), right=("LOAD",)),
        Text(f"and {len(sample.workers) - SHOWN_WORKERS} more workers" if len(sample.workers) > SHOWN_WORKERS else ""),
    )


def _head(url: str, sample: Sample) -> Text:
    head = Text.assemble(("DistriQueue", "bold"), f"  {url}  {datetime.now(UTC):%H:%M:%S} UTC  ")
    if sample.nodes is None:
        return head.append("leader not known: --orchestrators names the nodes", style="dim")
    leader = cluster.settled(sample.nodes)
    answer = sum(each is not None for each in sample.nodes.values())
    if leader is None:
        head.append("no leader", style="bold red")
    else:
        term = next(each["term"] for each in sample.nodes.values() if each)
        head.append(f"{leader} leads in term {term}", style="green")
    return head.append(f", {answer} of {len(sample.nodes)} nodes answer")


def _throughput(sample: Sample, before: Sample | None) -> Text:
    line = Text()
    if before is not None:
        seconds = max(sample.at_s - before.at_s, 0.001)
        now, then = sample.done(), before.done()
        for name, shown in (("total", "submitted"), ("completed", "completed"), ("failed", "failed")):
            line.append(f"{max(now[name] - then[name], 0) / seconds:,.1f} {shown}/s   ")
    elif hours := sample.statistics["hourly"]:
        line.append(f"this hour: {hours[-1]['submitted']:,} submitted, {hours[-1]['finished']:,} finished   ")
    line.append(f"run {milliseconds(sample.statistics['averageExecutionTimeMs']) or '-'} on average\n")
    for status in Status:
        count = sample.statistics["byStatus"].get(status, 0)
        if count:
            line.append(f"{count:,} ").append(coloured(status)).append("   ")
    return line


def _sample(gateway: Gateway, nodes: Callee | None) -> Sample:
    return Sample(
        time.monotonic(),
        gateway.call("GET", "/queues"),
        gateway.call("GET", "/jobs/statistics"),
        workers.listed(gateway, every=False),
        _views(nodes),
    )


def _views(nodes: Callee | None) -> cluster.Said | None:
    try:
        return None if nodes is None else cluster.asked(nodes)
    except DistriQueueError:
        return None  # the gateway's key need not be one of theirs


def _nodes(home: Path, urls: str | None) -> Callee | None:
    try:
        return orchestrators(home, urls)
    except NoStack:
        return None


def _once(url: str, sample: Sample, output: Output) -> None:
    if output is Output.JSON:
        write_json(_as_json(sample))
    else:
        show(frame(url, sample, None))


def _as_json(sample: Sample) -> dict[str, Any]:
    leader = None if sample.nodes is None else cluster.settled(sample.nodes)
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "leader": leader,
        "queues": sample.queues,
        "workers": sample.workers,
        "statistics": sample.statistics,
    }
