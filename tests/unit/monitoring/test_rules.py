"""Rules: right by promtool, each alert proved to fire and to be silent, each with a page that says what to do."""

from pathlib import Path

import pytest
import yaml

from tests.servers.prometheus import promtool
from tests.unit.monitoring.figures import ROOT, RULES, is_known, ours, recorded, rules
from tests.unit.monitoring.promql import metrics_of

TESTS = ROOT / "monitoring" / "prometheus" / "tests"
ALERTS = [rule for rule in rules() if "alert" in rule]


def test_the_configurations_are_right(tmp_path: Path) -> None:
    for config in sorted(RULES.parent.glob("prometheus*.yml")):
        assert "SUCCESS" in promtool("check", "config", config)
    said = promtool("check", "rules", *sorted(RULES.glob("*.yml")))
    assert "FAILED" not in said


def test_rules_do_what_their_tests_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", *sorted(TESTS.glob("*.yml")))


def test_every_alert_is_tested_to_fire_and_to_be_silent() -> None:
    cases = [
        case
        for file in sorted(TESTS.glob("*.yml"))
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    fires = {(case["alertname"], each["exp_labels"].get("burn")) for case in cases for each in case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert {(rule["alert"], rule["labels"].get("burn")) for rule in ALERTS} == fires
    assert {rule["alert"] for rule in ALERTS} == silent


def test_rules_use_only_metrics_that_exist() -> None:
    known = ours() | recorded()
    unknown = {name for rule in rules() for name in metrics_of(rule["expr"]) if not is_known(name, known)}
    assert unknown == set()


@pytest.mark.parametrize("page", sorted({rule["annotations"]["runbook_url"] for rule in ALERTS}))
def test_every_alert_has_its_page(page: str) -> None:
    assert (ROOT / page).is_file()


def test_an_alert_says_whom_it_is_for_and_what_it_is() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
