"""What is said of an attempt's end."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from distriqueue.core.errors import Retry
from distriqueue.core.messages import ReportStatus
from tests.unit.workers import samples
from workers.runtime import outcome as outcomes
from workers.runtime.frames import LENGTHS, end_frame, read_end
from workers.runtime.outcome import MAX_MESSAGE_BYTES, MAX_RESULT_BYTES, MAX_TRACEBACK_BYTES, clean, completed, raised


def test_a_result_is_encoded_whatever_pydantic_can() -> None:
    outcome = completed({"at": datetime(2026, 1, 1, tzinfo=UTC), "model": samples.Amount(amount=1), "big": 10**100})
    assert outcome.result is not None
    assert json.loads(outcome.result) == {"at": "2026-01-01T00:00:00Z", "model": {"amount": 1}, "big": 10**100}


def test_nan_becomes_null() -> None:
    assert completed([math.nan, math.inf]).result == b"[null,null]"


def circular() -> list[Any]:
    """Return a list that holds itself."""
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (object(), "result_not_json"),
        (circular(), "result_not_json"),
        ("\ud800", "result_not_json"),
        (b"\xff", "result_not_json"),
        ("a\x00b", "result_not_json"),
        ("\\\x00", "result_not_json"),
        ("x" * MAX_RESULT_BYTES, "result_too_large"),
    ],
)
def test_what_cannot_be_stored_fails_without_retries(value: object, type_: str) -> None:
    outcome = completed(value)
    assert (outcome.status, outcome.error_type, outcome.retryable) == (ReportStatus.FAILED, type_, False)


def test_the_text_of_an_escape_is_no_nul() -> None:
    assert completed("\\u0000").status is ReportStatus.COMPLETED


def test_a_traceback_is_bounded_and_keeps_its_end() -> None:
    try:
        samples.deep(300)
    except RuntimeError as exc:
        outcome = raised(exc)
    assert outcome.traceback is not None
    assert len(outcome.traceback.encode()) <= MAX_TRACEBACK_BYTES
    assert outcome.traceback.startswith("Traceback")
    assert outcome.traceback.rstrip().endswith("x")
    assert len(outcome.error_message or "") <= MAX_MESSAGE_BYTES


def test_an_exception_that_cannot_be_read_still_ends_the_attempt() -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert raised(Unreadable()).error_message == "(its message cannot be read)"


@pytest.mark.parametrize(("delay_s", "sent"), [(-1.0, 0.0), (1e12, 366 * 86400.0), (math.nan, None), (None, None)])
def test_a_retry_delay_is_one_that_the_gateway_takes(delay_s: float | None, sent: float | None) -> None:
    assert raised(Retry(delay_s=delay_s)).retry_after_s == sent


def test_clean_text_is_storable_and_bounded() -> None:
    assert clean("a\x00\ud800", 100) == "a\N{REPLACEMENT CHARACTER}?"
    assert len(clean("ä" * 100, 50).encode()) <= 50


def test_an_end_survives_its_way_from_a_child() -> None:
    for outcome in (completed({"a": 1}), completed(None), raised(Retry(delay_s=1)), outcomes.unknown_type("x", ["y"])):
        data = end_frame(outcome)
        header_bytes, body_bytes = LENGTHS.unpack(data[: LENGTHS.size])
        header = json.loads(data[LENGTHS.size : LENGTHS.size + header_bytes])
        assert read_end(header, data[len(data) - body_bytes :]) == outcome
