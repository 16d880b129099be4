"""Small drawings as SVG, and the figures of the large ones; no styles in attributes, which the policy forbids."""

from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup
from pydantic_core import to_json

from distriqueue.core.job import Priority
from gateway.dashboard.sampler import Point

WIDTH: Final = 120.0
HEIGHT: Final = 28.0
PAD: Final = 1.5
MOST_POINTS: Final = 60


def sparkline(values: Sequence[float | None]) -> Markup:
    """Draw values as a line with the area below it, from 0 to the largest; nothing for fewer than two."""
    known = [value or 0.0 for value in values[-MOST_POINTS:]]
    if len(known) < 2:
        return Markup('<svg class="spark" viewBox="0 0 120 28" aria-hidden="true"></svg>')
    top = max(known) or 1.0
    step = WIDTH / (len(known) - 1)
    places = [(place * step, HEIGHT - PAD - value / top * (HEIGHT - 2 * PAD)) for place, value in enumerate(known)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return Markup(
        '<svg class="spark" viewBox="0 0 {w:g} {h:g}" preserveAspectRatio="none" aria-hidden="true">'
        '<polygon class="spark-area" points="0,{h:g} {line} {w:g},{h:g}"/>'
        '<polyline class="spark-line" points="{line}"/></svg>'
    ).format(w=WIDTH, h=HEIGHT, line=line)


def hour_figures(points: Sequence[Point]) -> str:
    """Return the last hour as JSON for the page's script: columns of uPlot, times first."""
    rates = [point.rates for point in points]
    return to_json(
        {
            "throughput": [
                [point.at_s for point in points],
                [_short(each.ended_per_min) for each in rates],
                [_short(each.submitted_per_min) for each in rates],
                [_short(60 * each.failed / each.seconds) for each in rates],
            ],
            "latency": [
                [point.at_s for point in points],
                [_short(each.queue_s) for each in rates],
                [_short(each.run_s) for each in rates],
            ],
        }
    ).decode()


def lane_history(points: Sequence[Point], lane: Priority) -> Markup:
    """Draw how many jobs waited in a lane."""
    return sparkline([point.waiting.get(lane, 0) for point in points])


def _short(value: float | None) -> Any:
    return None if value is None else float(f"{value:.4g}")
