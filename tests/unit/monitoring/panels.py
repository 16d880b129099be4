"""A dashboard's panels, and what they ask Prometheus."""

from collections.abc import Iterator
from typing import Any

INTERVAL = "1m"
"""In place of Grafana's own variable."""


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all but the titles of rows."""
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def exprs(panel: dict[str, Any], *, interval: str = INTERVAL) -> list[str]:
    """Return what a panel asks."""
    return [target["expr"].replace("$__rate_interval", interval) for target in panel["targets"]]
