"""Dashboards: as generated, in PromQL that parses, of metrics that exist."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.grafana.__main__ import ALL, HERE, rendered
from tests.servers.prometheus import promtool
from tests.unit.monitoring.figures import ROOT, is_known, ours, recorded
from tests.unit.monitoring.panels import exprs, panels
from tests.unit.monitoring.promql import metrics_of

KNOWN = ours() | recorded()


def board(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return read


def test_what_is_committed_is_what_the_code_makes() -> None:
    committed = {file.name: file.read_text() for file in HERE.glob("*.json")}
    assert committed == rendered(), "run `python -m monitoring.grafana`"


def test_every_expression_parses(tmp_path: Path) -> None:
    found = [expr for name in ALL for panel in panels(board(name)) for expr in exprs(panel)]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(found)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(found)} rules found" in promtool("check", "rules", file)


@pytest.mark.parametrize("name", sorted(ALL))
def test_panels_use_only_metrics_that_exist(name: str) -> None:
    used = {metric for panel in panels(board(name)) for expr in exprs(panel) for metric in metrics_of(expr)}
    assert used
    assert {metric for metric in used if not is_known(metric, KNOWN)} == set()


@pytest.mark.parametrize("name", sorted(ALL))
def test_panels_stand_side_by_side(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in (*panels(board(name)), *(each for each in board(name)["panels"] if each["type"] == "row")):
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


def test_dashboards_can_be_told_apart() -> None:
    boards = [board(name) for name in ALL]
    for field in ("uid", "title"):
        assert len({each[field] for each in boards}) == len(boards)
    assert {each["schemaVersion"] for each in boards} == {41}, "Grafana 12.0"


def test_grafana_is_told_where_everything_is() -> None:
    provisioning = ROOT / "monitoring" / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    assert (source["type"], source["uid"], source["isDefault"]) == ("prometheus", "prometheus", True)
    provider = yaml.safe_load((provisioning / "dashboards" / "distriqueue.yml").read_text())["providers"][0]
    assert provider["type"] == "file"


def test_names_are_found_in_promql() -> None:
    expr = 'sum by (lane) (rate(a_total{b="c"}[5m])) / on (lane) (d:e:f > 0.5) or histogram_quantile(0.9, g_bucket)'
    assert metrics_of(expr) == {"a_total", "d:e:f", "g_bucket"}
