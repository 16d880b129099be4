"""What dashboards are made of: rows of figures (`stat`) and of charts (`chart`), all from one Prometheus.

Grafana's width is 24; a row of panels fills it. Colours, legends and heights are the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common as looks
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.models import common, dashboard

SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH: Final = 24
TAG: Final = "distriqueue"

SECONDS: Final = "s"
PER_SECOND: Final = "reqps"
BYTES: Final = "bytes"
SHARE: Final = "percentunit"
COUNT: Final = "short"


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a chart, or several: PromQL, and what the legend says of each series."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """From where on a figure is no longer good."""

    amber: float
    red: float


def stat_panel(title: str, expr: str, *, unit: str = COUNT, limit: Limit | None = None, says: str = "") -> stat.Panel:
    """One figure, as it is now, with its course behind it."""
    panel = (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(looks.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(0, Query(expr)))
    )
    return panel.thresholds(_thresholds(limit)) if limit is not None else panel


def chart(
    title: str, *queries: Query, unit: str = COUNT, says: str = "", stacked: bool = False, most: float | None = None
) -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .height(8)
        .min(0)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            looks.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .show_legend(True)
        )
        .tooltip(looks.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(looks.StackingConfig().mode(common.StackingMode.NORMAL))
    if most is not None:
        panel = panel.max(most)
    for number, query in enumerate(queries):
        panel = panel.with_target(_target(number, query))
    return panel


def quantiles(metric: str, by: str = "", *, where: str = "", of: Sequence[float] = (0.5, 0.95, 0.99)) -> list[Query]:
    """Quantiles of a histogram; with a label to split by, one line each for every value of it."""
    grouping = f"{by}, le" if by else "le"
    return [
        Query(
            f"histogram_quantile({share}, sum by ({grouping}) (rate({metric}_bucket{where}[$__rate_interval])))",
            (f"{{{{{by}}}}} " if by else "") + f"p{share * 100:g}",
        )
        for share in of
    ]


def rate(metric: str, by: str, *, where: str = "") -> Query:
    """How often a second, split by a label."""
    return Query(f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))", f"{{{{{by}}}}}")


def new_dashboard(title: str, *, uid: str, says: str) -> build.Dashboard:
    """An empty dashboard, with the choice of a Prometheus and links to the others."""
    return (
        build.Dashboard(f"DistriQueue: {title}")
        .uid(f"distriqueue-{uid}")
        .description(says)
        .tags([TAG])
        .readonly()
        .refresh("10s")
        .time("now-30m", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            build.DashboardLink("DistriQueue")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )


def row(onto: build.Dashboard, title: str, *panels: stat.Panel | timeseries.Panel, columns: int) -> build.Dashboard:
    """Add a titled row, `columns` panels side by side."""
    onto = onto.with_row(build.Row(title))
    for panel in panels:
        onto = onto.with_panel(panel.span(WIDTH // columns))
    return onto


def _target(number: int, query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(chr(ord("A") + number)).datasource(SOURCE).expr(query.expr)
    return target.legend_format(query.legend) if query.legend else target


def _thresholds(limit: Limit) -> build.ThresholdsConfig:
    ascending = limit.red >= limit.amber
    first, last = ("green", "red") if ascending else ("red", "green")
    low, high = sorted((limit.amber, limit.red))
    steps = [(None, first), (low, "orange"), (high, last)]
    return (
        build.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=value, color=color) for value, color in steps])
    )
