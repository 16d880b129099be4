"""What a person sees: the progress while it runs, then a table of each suite, the guarantees and the targets."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.model import Contender, Suite
from benchmarks.results import Launch, Result, Share, Spread, Verdict

NO_TERMINAL_COLUMNS: Final = 200


def console() -> Console:
    """Return where all of it goes; wide where there is no terminal that would wrap it."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=NO_TERMINAL_COLUMNS)


class Display:
    """An `Observer` with a bar over all launches, and a line for each that ended."""

    def __init__(self, out: Console, total: int) -> None:
        self._out = out
        self._total = total
        self._bar = Progress(
            TextColumn("[bold]{task.fields[suite]}"),
            TextColumn("round {task.fields[round]}"),
            TextColumn("{task.fields[contender]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", markup=False),
            console=out,
            disable=not out.is_terminal,
        )
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        self._task = self._bar.add_task("", total=self._total, suite="", round="", contender="", doing="starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it away."""
        self._bar.stop()

    def begins(self, suite: Suite, contender: Contender, number: int) -> None:
        """Show what begins."""
        self._bar.update(
            self._task, suite=suite.name, round=str(number), contender=escape(contender.name), doing="starting"
        )

    def says(self, text: str) -> None:
        """Show what the launch is doing."""
        self._bar.update(self._task, doing=text)

    def ends(self, suite: Suite, launch: Launch) -> None:
        """Print what the launch gave."""
        units = {metric.key: (metric.title, metric.unit) for metric in suite.metrics}
        figures = ", ".join(
            f"{units[key][0]} {number(value)} {units[key][1]}" for key, value in launch.figures.items() if key in units
        )
        gave = f"[red]failed: {escape(launch.failure.splitlines()[0])}[/red]" if launch.failure else escape(figures)
        self._out.print(
            f"{suite.name} {launch.round} [bold]{escape(launch.contender)}[/bold] ({launch.took_s:.1f} s): {gave}"
        )
        self._bar.advance(self._task)


def number(value: float) -> str:
    """Write a figure with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def show(out: Console, result: Result) -> None:
    """Print one suite's tables."""
    out.print()
    out.print(_figures(result))
    if any(contender.guarantees for contender in result.suite.contenders):
        out.print(_guarantees(result.suite))
    for verdict in result.verdicts():
        out.print(sentence(verdict))


def show_shares(out: Console, shares: Sequence[tuple[Share, float | None]]) -> None:
    """Print what parts of the limits are reached, of those that are known."""
    for share, value in shares:
        if value is not None:
            out.print(
                f"  {escape(share.contender)} ({share.suite}) reaches {100 * value:.1f} % of {escape(share.limit)}:"
                f" {share.limit_metric}"
            )


def sentence(verdict: Verdict) -> str:
    """Say whether a target is met, and by how much."""
    target = verdict.target
    if verdict.value is None or verdict.bound is None:
        return f"  [yellow]unknown[/yellow]  {escape(target.text)}: no figure"
    word = "[green]met[/green]    " if verdict.met else "[red]missed[/red] "
    ratio = f" = {verdict.ratio:.2f} ×" if target.against and verdict.ratio is not None else ""
    factor = f"{target.factor:g} × {target.against} = " if target.against else ""
    return (
        f"  {word}  {escape(target.text)}: {number(verdict.value)}{ratio}"
        f" (wanted {target.relation} {escape(factor)}{number(verdict.bound)})"
    )


def _figures(result: Result) -> Table:
    suite = result.suite
    rounds = max((launch.round for launch in result.launches), default=0)
    table = Table(title=f"{suite.title}: medians of {rounds} launches (least – most)", title_justify="left")
    table.add_column("")
    for metric in suite.metrics:
        table.add_column(f"{metric.title}, {metric.unit}", justify="right")
    for metric, against in result.references():
        table.add_column(f"{metric.title} ÷ {escape(against)}", justify="right")
    for contender in suite.contenders:
        failed = sum(launch.failure is not None for launch in result.of(contender.name))
        name = f"{escape(contender.name)} [red]({failed} failed)[/red]" if failed else escape(contender.name)
        cells = [_cell(result.spread(contender.name, metric.key)) for metric in suite.metrics]
        ratios = [result.ratio(contender.name, metric.key, against) for metric, against in result.references()]
        table.add_row(name, *cells, *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios))
    return table


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    if spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)} – {number(spread.most)})"


def _guarantees(suite: Suite) -> Table:
    table = Table(title="What each does for a job", title_justify="left")
    for title in ("", "durable", "confirmed", "results stored", "running state visible", "note"):
        table.add_column(title)
    words = {True: "yes", False: "no", None: "–"}
    for contender in suite.contenders:
        given = contender.guarantees
        if given is not None:
            columns = (given.durable, given.confirmed, given.results_stored, given.state_visible)
            table.add_row(escape(contender.name), *(words[each] for each in columns), escape(given.note))
    return table
