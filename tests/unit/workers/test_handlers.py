"""calculate, transform and validate: every operation, and every way to ask for nonsense."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch, ReportStatus
from workers.handlers import default_registry
from workers.runtime.calls import call_sync
from workers.runtime.context import AttemptContext
from workers.runtime.outcome import Outcome

REGISTRY = default_registry()


def run(type_: str, payload: dict[str, Any]) -> Outcome:
    """Run a job as a worker's thread would, its payload having been JSON."""
    handler = REGISTRY.get(type_)
    assert handler is not None
    sent = Dispatch(new_job_id(), 1, type_, Priority.LOW, payload, 1.0)
    dispatch = Dispatch.decode(sent.encode())
    context = AttemptContext(
        dispatch.job_id, 1, type_, deadline=time.monotonic() + 1, sink=lambda _percent, _message: None
    )
    return call_sync(handler, dispatch, context)


def result_of(type_: str, payload: dict[str, Any]) -> Any:
    """Return the result of a job that completes."""
    outcome = run(type_, payload)
    assert outcome.status is ReportStatus.COMPLETED, outcome.error_message
    return json.loads(outcome.result or b"")


def refusal_of(type_: str, payload: dict[str, Any]) -> str:
    """Return what is said of a job that fails for good."""
    outcome = run(type_, payload)
    assert outcome.status is ReportStatus.FAILED
    assert not outcome.retryable
    return outcome.error_message or ""


def test_the_seeds_job_ends_with_sum_15() -> None:
    expected = {"operation": "sum", "count": 5, "result": 15, "sum": 15}
    assert result_of("calculate", {"numbers": [1, 2, 3, 4, 5]}) == expected


@pytest.mark.parametrize(
    ("operation", "numbers", "result"),
    [
        ("sum", [], 0),
        ("sum", [0.1] * 10, 1.0),
        ("sum", [10**400, 1], 10**400 + 1),
        ("average", [1, 2], 1.5),
        ("average", [2, 4], 3),
        ("average", [10**400, 10**400], 10**400),
        ("min", [3, -1.5, 2], -1.5),
        ("max", [3, -1.5, 2], 3),
        ("sort", [3, -1.5, 10**30, 2], [-1.5, 2, 3, 10**30]),
        ("sort", [], []),
        ("aggregate", [1, 2, 6], {"count": 3, "sum": 9, "min": 1, "max": 6, "average": 3}),
        ("aggregate", [], {"count": 0, "sum": 0, "min": None, "max": None, "average": None}),
    ],
)
def test_calculate(operation: str, numbers: list[Any], result: Any) -> None:
    found = result_of("calculate", {"operation": operation, "numbers": numbers})
    named = {} if isinstance(result, list | dict) else {operation: result}
    assert found == {"operation": operation, "count": len(numbers), "result": result, **named}


def test_calculate_sorts_downwards_too() -> None:
    assert result_of("calculate", {"operation": "sort", "numbers": [1, 3, 2], "descending": True})["result"] == [
        3,
        2,
        1,
    ]


def test_calculate_statistics() -> None:
    result = result_of("calculate", {"operation": "statistics", "numbers": [2, 4, 4, 4, 5, 5, 7, 9]})["result"]
    assert result == {
        "count": 8,
        "sum": 40,
        "min": 2,
        "max": 9,
        "average": 5,
        "median": 4.5,
        "mode": 4,
        "range": 7,
        "variance": 4.0,
        "standardDeviation": 2.0,
        "quartiles": [4, 4.5, 5.5],
    }
    assert result_of("calculate", {"operation": "statistics", "numbers": [7]})["result"]["quartiles"] == [7, 7, 7]


@given(
    st.sampled_from(["sum", "average", "min", "max", "sort", "aggregate", "statistics"]),
    st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=20),
)
def test_calculate_answers_or_says_why_not(operation: str, numbers: list[Any]) -> None:
    outcome = run("calculate", {"operation": operation, "numbers": numbers})
    assert outcome.status is ReportStatus.COMPLETED or not outcome.retryable


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "payload.numbers: Field required"),
        ({"numbers": 5}, "payload.numbers: "),
        ({"numbers": [1, "2"]}, "payload.numbers.1"),
        ({"numbers": [True]}, "payload.numbers.0"),
        ({"numbers": [None]}, "payload.numbers.0"),
        ({"numbers": [1], "operation": "divide"}, "payload.operation: "),
        ({"numbers": [1], "more": 1}, "payload.more: "),
        ({"numbers": [10**1001]}, "payload.numbers.0"),
        ({"numbers": [], "operation": "average"}, "payload.numbers: average needs at least one number"),
        ({"numbers": [], "operation": "min"}, "payload.numbers: min needs"),
        ({"numbers": [1e308, 1e308]}, "beyond what a float can hold"),
        ({"numbers": [10**400, 1.5]}, "beyond what a float can hold"),
        ({"numbers": [1] * 100_001}, "payload.numbers: "),
    ],
)
def test_calculate_refuses(payload: dict[str, Any], said: str) -> None:
    assert said in refusal_of("calculate", payload)


@pytest.mark.parametrize(
    ("operation", "data", "result"),
    [
        ("uppercase", "straße", "STRASSE"),
        ("uppercase", {"a": ["x", 1, None]}, {"a": ["X", 1, None]}),
        ("lowercase", ["A", {"K": "V"}], ["a", {"K": "v"}]),
        ("reverse", "abc", "cba"),
        ("reverse", [1, "b"], ["b", 1]),
        ("reverse", {"a": "x", "b": 2}, {"x": "a", "2": "b"}),
        ("reverse", -120, -21),
        ("filter", [0, None, "", " ", [], {}, False, "x"], [0, False, "x"]),
        ("filter", {"a": None, "b": 1}, {"b": 1}),
        ("filter", "  x ", "x"),
        ("filter", 5, 5),
        ("normalize", "  Cafe\u0301  AU lait ", "café au lait"),
        ("normalize", [10, 20, 15.0], [0.0, 1.0, 0.5]),
        ("normalize", [3, 3], [0.0, 0.0]),
        ("normalize", [-1.7e308, 1.7e308], [0.0, 1.0]),
        ("normalize", [" A ", 1], ["a", 1]),
        ("normalize", {" Key ": " V "}, {"key": "v"}),
        ("normalize", True, True),
    ],
)
def test_transform(operation: str, data: Any, result: Any) -> None:
    assert result_of("transform", {"operation": operation, "data": data}) == {
        "operation": operation,
        "result": result,
    }


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ({"contains": "a"}, ["apple"]),
        ({"equals": 1}, [1]),
        ({"equals": True}, [True]),
        ({"min": 2}, [5]),
        ({"min": 0, "max": 2}, [1]),
    ],
)
def test_transform_filters_by_condition(condition: dict[str, Any], result: list[Any]) -> None:
    payload = {"operation": "filter", "data": ["apple", 1, True, 5, None], **condition}
    assert result_of("transform", payload)["result"] == result


def nested(levels: int) -> Any:
    """Return a list in a list in a list."""
    return "x" if not levels else [nested(levels - 1)]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "payload.data: Field required"),
        ({"data": "x", "operation": "explode"}, "payload.operation: "),
        ({"data": 1.5, "operation": "reverse"}, "reverse takes"),
        ({"data": {"a": []}, "operation": "reverse"}, "its values must be"),
        ({"data": {"a": 1, "b": 1}, "operation": "reverse"}, "must differ"),
        ({"data": "x", "operation": "filter", "contains": "x"}, "takes a list or an object"),
        ({"data": "x", "contains": "x"}, "belong to filter"),
        ({"data": {"A": 1, "a": 2}, "operation": "normalize"}, "two keys are the same"),
        ({"data": nested(150), "operation": "uppercase"}, "nested deeper"),
        ({"data": [10**400, 1], "operation": "normalize"}, "cannot be scaled"),
    ],
)
def test_transform_refuses(payload: dict[str, Any], said: str) -> None:
    assert said in refusal_of("transform", payload)


@pytest.mark.parametrize(
    ("payload", "valid"),
    [
        ({"type": "email", "value": "a.b+c@mail.example.org"}, True),
        ({"type": "email", "value": "a@localhost"}, False),
        ({"type": "email", "value": "a..b@x.org"}, False),
        ({"type": "email", "value": "a@x.org\n"}, False),
        ({"type": "email", "value": "a" * 65 + "@x.org"}, False),
        ({"type": "email", "value": 5}, False),
        ({"type": "phone", "value": "+49 (30) 123-4567"}, True),
        ({"type": "phone", "value": "12345"}, False),
        ({"type": "phone", "value": "+1234567890123456"}, False),
        ({"type": "phone", "value": "call me"}, False),
        ({"type": "numeric", "value": 5}, True),
        ({"type": "numeric", "value": "-1.5e3"}, True),
        ({"type": "numeric", "value": True}, False),
        ({"type": "numeric", "value": "nan"}, False),
        ({"type": "numeric", "value": "1e9999"}, False),
        ({"type": "numeric", "value": "1_000"}, False),
        ({"type": "numeric", "value": None}, False),
        ({"type": "required", "value": 0}, True),
        ({"type": "required", "value": False}, True),
        ({"type": "required", "value": "  "}, False),
        ({"type": "required"}, False),
        ({"type": "required", "value": []}, False),
        ({"type": "range", "value": 5, "min": 5, "max": 10}, True),
        ({"type": "range", "value": "11", "max": 10}, False),
        ({"type": "range", "value": 4, "min": 5}, False),
        ({"type": "range", "value": "x", "min": 5}, False),
        ({"type": "length", "value": "abc", "min": 3, "max": 3}, True),
        ({"type": "length", "value": [1], "min": 2}, False),
        ({"type": "length", "value": 5, "min": 2}, False),
        ({"type": "regex", "value": "abc", "pattern": "b"}, True),
        ({"type": "regex", "value": "abc", "pattern": "b", "fullMatch": True}, False),
        ({"type": "regex", "value": "äb", "pattern": "^.b$"}, True),
        ({"type": "regex", "value": 5, "pattern": "5"}, False),
    ],
)
def test_validate(payload: dict[str, Any], valid: bool) -> None:
    result = result_of("validate", payload)
    assert (result["type"], result["valid"]) == (payload["type"], valid)
    assert bool(result["errors"]) is not valid


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "payload.type: Field required"),
        ({"type": "iban"}, "payload.type: "),
        ({"type": "range", "value": 1}, "range needs min, max or both"),
        ({"type": "length", "value": "", "min": 2, "max": 1}, "payload.min: above max"),
        ({"type": "regex", "value": "x"}, "payload.pattern: regex needs one"),
        ({"type": "regex", "value": "x", "pattern": "("}, "missing )"),
        ({"type": "regex", "value": "x", "pattern": "(?=x)"}, "payload.pattern: "),
        ({"type": "regex", "value": "x", "pattern": r"(a)\1"}, "payload.pattern: "),
        ({"type": "regex", "value": "x", "pattern": "(((a{100}){100}){100})"}, "payload.pattern: "),
        ({"type": "regex", "value": "x", "pattern": "x" * 1001}, "payload.pattern: "),
    ],
)
def test_validate_refuses(payload: dict[str, Any], said: str) -> None:
    assert said in refusal_of("validate", payload)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*)*x", "(a*)*b"])
def test_no_pattern_hangs_a_worker(pattern: str) -> None:
    began_s = time.process_time()
    assert not result_of("validate", {"type": "regex", "value": "a" * 50_000 + "!", "pattern": pattern})["valid"]
    assert time.process_time() - began_s < 2
