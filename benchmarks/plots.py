"""A PNG of each suite: a panel for every metric, a bar for every contender, with its spread and the targets' bounds."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.model import Metric
from benchmarks.report import number
from benchmarks.results import Result

COLUMNS: Final = 2
PANEL_WIDTH_IN, BAR_HEIGHT_IN, MARGIN_IN = 7.0, 0.32, 1.1
OURS, OTHERS, BOUND = "#1f6f8b", "#b8c4cc", "#c0392b"


def draw(results: Sequence[Result], directory: Path) -> Iterator[Path]:
    """Draw each suite with figures into the directory, and return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    for result in results:
        if any(launch.figures for launch in result.launches):
            path = directory / f"{result.suite.name}.png"
            _figure(result).savefig(path, dpi=110)
            yield path


def _figure(result: Result) -> Any:
    metrics = result.suite.metrics
    columns = min(COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    height_in = rows * (MARGIN_IN + BAR_HEIGHT_IN * len(result.suite.contenders)) + 0.4
    figure: Any = Figure(figsize=(PANEL_WIDTH_IN * columns, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(result.suite.title)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, metric in zip(panels, metrics, strict=False):
        _panel(panel, result, metric)
    for panel in list(panels):
        panel.set_visible(False)
    return figure


def _panel(panel: Any, result: Result, metric: Metric) -> None:
    for place, contender in enumerate(result.suite.contenders):
        spread = result.spread(contender.name, metric.key)
        panel.barh(place, 0)  # keeps the place of one that failed
        if spread is None:
            continue
        color = OURS if contender.name.startswith("ours") else OTHERS
        reach = [[spread.median - spread.least], [spread.most - spread.median]]
        panel.barh(place, spread.median, color=color, xerr=reach, ecolor="black", capsize=3)
        panel.annotate(
            f" {number(spread.median)}", (spread.most, place), va="center", fontsize=8, annotation_clip=False
        )
    bounds = {verdict.bound for verdict in result.verdicts() if verdict.target.metric == metric.key}
    for bound in bounds - {None}:
        panel.axvline(bound, color=BOUND, linestyle="--", linewidth=1)
    panel.set_yticks(range(len(result.suite.contenders)), [each.name for each in result.suite.contenders])
    panel.invert_yaxis()
    panel.margins(x=0.15)
    panel.set_title(f"{metric.title}, {metric.unit} ({metric.better} is better)", fontsize=10)
