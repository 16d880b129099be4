"""Medians, spreads, ratios, targets and shares of what launches gave."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from benchmarks.model import Contender, Guarantees, Metric, Scene, Suite, Target
from benchmarks.report import number, sentence
from benchmarks.results import Launch, Result, Share, Spread

RATE = Metric("rate", "rate", "/s", "more")
WAIT = Metric("wait", "wait", "ms", "less")


async def never(_scene: Scene) -> Mapping[str, float]:
    raise AssertionError("nothing is launched here")


def result(figures: Mapping[str, list[Mapping[str, float] | None]], *targets: Target, name: str = "some") -> Result:
    """Make a result: each contender's figures by round, None for a launch that failed."""
    contenders = tuple(Contender(each, never, Guarantees(True, True, None, False, "a note")) for each in figures)
    launches = tuple(
        Launch(contender, number, 1.5, given or {}, None if given else "it broke")
        for contender, rounds in figures.items()
        for number, given in enumerate(rounds, 1)
    )
    return Result(Suite(name, "Some", (RATE, WAIT), contenders, targets), launches)


def rates(*values: float | None) -> list[Mapping[str, float] | None]:
    return [None if value is None else {"rate": value} for value in values]


def test_a_median_and_its_spread() -> None:
    assert Spread.of([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)
    assert Spread.of([4.0, 2.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([2.0, 1.0, 4.0]).relative == pytest.approx(1.5)


def test_failed_launches_count_in_no_figure() -> None:
    some = result({"a": rates(10, None, 30), "b": rates(None, None, None)})
    assert some.spread("a", "rate") == Spread(20.0, 10.0, 30.0)
    assert some.spread("b", "rate") is None
    assert some.spread("a", "wait") is None
    assert len(some.failures) == 4


def test_a_ratio_is_of_medians() -> None:
    some = result({"a": rates(10, 30, 20), "b": rates(5, 4, 100), "c": rates(None)})
    assert some.ratio("a", "rate", "b") == pytest.approx(4.0)
    assert some.ratio("a", "rate", "c") is None
    assert some.ratio("c", "rate", "a") is None


@pytest.mark.parametrize(
    ("relation", "factor", "against", "value", "met"),
    [
        (">=", 2.0, "b", 20.0, True),
        (">=", 2.0, "b", 19.9, False),
        ("<=", 1.2, "b", 12.0, True),
        ("<=", 1.2, "b", 12.1, False),
        (">=", 15.0, None, 15.0, True),
        ("<=", 15.0, None, 15.1, False),
    ],
)
def test_a_target_is_met_at_its_bound(
    relation: Any, factor: float, against: str | None, value: float, met: bool
) -> None:
    target = Target("t", "rate", "a", relation, factor, against)
    (verdict,) = result({"a": rates(value), "b": rates(10)}, target).verdicts()
    assert verdict.met is met
    assert verdict.bound == pytest.approx(factor * 10 if against else factor)
    assert ("missed" not in sentence(verdict)) is met


def test_the_ratio_of_a_verdict_is_to_the_reference_and_not_to_the_bound() -> None:
    target = Target("t", "rate", "a", ">=", 5.0, "b")
    (verdict,) = result({"a": rates(40), "b": rates(10)}, target).verdicts()
    assert verdict.ratio == pytest.approx(4.0)
    assert "= 4.00 ×" in sentence(verdict)


@pytest.mark.parametrize("figures", [{"a": rates(None), "b": rates(10)}, {"a": rates(10), "b": rates(None)}])
def test_a_target_without_a_figure_is_unknown(figures: Mapping[str, list[Mapping[str, float] | None]]) -> None:
    (verdict,) = result(figures, Target("t", "rate", "a", ">=", 1.0, "b")).verdicts()
    assert verdict.met is None
    assert "unknown" in sentence(verdict)


def test_references_are_named_once_in_the_order_of_the_targets() -> None:
    targets = (
        Target("1", "rate", "a", ">=", 1.0, "b"),
        Target("2", "wait", "a", "<=", 1.0, "b"),
        Target("3", "rate", "c", ">=", 2.0, "b"),
        Target("4", "rate", "c", ">=", 2.0),
    )
    assert result({"a": [], "b": [], "c": []}, *targets).references() == ((RATE, "b"), (WAIT, "b"))


def test_the_json_holds_every_launch() -> None:
    target = Target("fast", "rate", "a", ">=", 2.0, "b")
    document = json.loads(json.dumps(result({"a": rates(30, None), "b": rates(10, 12)}, target).as_json()))
    assert list(document) == ["name", "title", "metrics", "contenders", "targets"]
    assert document["metrics"][0] == {"key": "rate", "title": "rate", "unit": "/s", "better": "more"}
    first = document["contenders"][0]
    assert first["name"] == "a"
    assert first["guarantees"]["results_stored"] is None
    assert first["summary"] == {"rate": {"median": 30.0, "least": 30.0, "most": 30.0}}
    assert first["launches"] == [
        {"round": 1, "took_s": 1.5, "figures": {"rate": 30}, "failure": None},
        {"round": 2, "took_s": 1.5, "figures": {}, "failure": "it broke"},
    ]
    assert document["targets"] == [asdict(target) | {"value": 30.0, "bound": 22.0, "met": True}]


def test_a_share_is_of_a_limit_of_the_same_run() -> None:
    share = Share("single", "ours", "rate", "queue", "rate")
    single, limits = result({"ours": rates(20)}, name="single"), result({"queue": rates(80)}, name="limits")
    other = result({"ours": rates(1), "queue": rates(1)}, name="batch")
    assert share.of([single, limits, other]) == pytest.approx(0.25)
    assert share.of([single]) is None
    assert share.of([limits]) is None


def test_numbers_have_three_digits_that_count() -> None:
    assert [number(each) for each in (12345.6, 100.0, 12.345, 1.2345, 0.5)] == ["12,346", "100", "12.3", "1.23", "0.50"]
