"""What the suites say of themselves."""

import pytest

from benchmarks.suites import NAMES, load


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_is_whole(name: str) -> None:
    suite = load(name)
    contenders = [contender.name for contender in suite.contenders]
    metrics = [metric.key for metric in suite.metrics]
    assert suite.name == name
    assert len(set(contenders)) == len(contenders)
    assert len(set(metrics)) == len(metrics)
    for target in suite.targets:
        assert target.metric in metrics, target
        assert target.contender in contenders, target
        assert target.against is None or target.against in contenders, target
    assert any(contender.quick for contender in suite.contenders)


def test_an_unknown_suite_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="no suite 'fast'; there are single, batch"):
        load("fast")
