"""What is kept of what a handler writes to its log."""

from collections.abc import Mapping
from typing import Any

import pytest
import structlog
from pydantic import TypeAdapter
from pydantic_core import to_json

from distriqueue.core.messages import MAX_LOG_FIELDS_BYTES, MAX_LOG_LINES, LogLine
from workers.runtime import joblog
from workers.runtime.joblog import FIRST, LAST, JobLines, Line, job_logger

LINES = TypeAdapter(tuple[LogLine, ...])


def logged(write: Any) -> list[Line]:
    """Return what a handler leaves that writes by `write`; the worker's own log gets it too."""
    lines = JobLines()

    def capture(level: str, message: str, fields: Mapping[str, Any]) -> None:
        lines.add(level, message, fields)

    write(job_logger(capture, job_id="j", attempt=1, job_type="t"))
    kept = lines.rest()
    LINES.validate_json(to_json(kept))  # a gateway takes them
    return kept


def test_a_line_has_its_level_its_message_and_its_fields() -> None:
    (line,) = logged(lambda log: log.bind(user="u1").warning("resized", width=3, sizes=[1, {"a": None}]))
    assert (line["n"], line["level"], line["message"]) == (1, "warning", "resized")
    assert line["fields"] == {"user": "u1", "width": 3, "sizes": [1, {"a": None}]}


def test_debug_is_for_the_workers_own_log_only() -> None:
    def write(log: Any) -> None:
        log.debug("a")
        log.info("b")
        log.critical("c")

    assert [(line["level"], line["message"]) for line in logged(write)] == [("info", "b"), ("critical", "c")]


def test_the_workers_log_gets_every_line_as_before() -> None:
    with structlog.testing.capture_logs() as logs:
        logged(lambda log: log.info("resized", width=3))
    assert logs == [{"event": "resized", "log_level": "info", "width": 3, "job_id": "j", "attempt": 1, "job_type": "t"}]


def test_an_exception_brings_its_traceback() -> None:
    def write(log: Any) -> None:
        try:
            raise KeyError("nowhere")
        except KeyError as exc:
            log.exception("failed")
            log.warning("again", exc_info=exc)
        log.error("without", exc_info=False)

    first, second, third = logged(write)
    assert first["level"] == "error"
    assert "KeyError: 'nowhere'" in first["fields"]["traceback"]
    assert "KeyError" in second["fields"]["traceback"]
    assert "fields" not in third


class Hostile:
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize("value", [b"\xff", "\ud800", ["\ud800"], float("nan"), {1: object()}, "\0"])
def test_what_is_no_json_is_shown_as_text(value: object) -> None:
    with structlog.testing.capture_logs():
        (line,) = logged(lambda log: log.info("x", value=value))
    assert "value" in line["fields"]


@pytest.mark.parametrize("value", [Hostile(), [Hostile()], {"a": Hostile()}])
def test_what_has_no_text_does_no_harm(value: object) -> None:
    lines = JobLines()
    lines.add("info", "x", {"value": value})
    (line,) = lines.rest()
    assert line["fields"] == {"value": f"({type(value).__name__})"}


def test_large_lines_are_cut_and_still_taken() -> None:
    lines = JobLines()
    lines.add("info", "ä" * 5_000, {"big": "\x01" * 50_000, **{f"f{i}": "x" * 500 for i in range(100)}})
    lines.add("info", "y", {"deep": ["z" * 50_000], "n" * 500: 1})
    first, second = lines.rest()
    assert len(first["message"].encode()) <= joblog.MAX_MESSAGE_BYTES
    assert first["fields"]["…"].endswith(" more")
    assert len(to_json(first["fields"])) <= MAX_LOG_FIELDS_BYTES
    assert "[...]" in second["fields"]["deep"]
    LINES.validate_json(to_json([first, second]))


def test_of_many_lines_the_first_come_at_once_and_the_last_at_the_end() -> None:
    lines = JobLines()
    now = [lines.add("info", f"line {n}", {}) for n in range(1, 5_001)]
    assert now == [True] * FIRST + [False] * (5_000 - FIRST)
    first = lines.take()
    assert [line["n"] for line in first] == list(range(1, FIRST + 1))
    assert lines.take() == []
    note, *last = lines.rest()
    assert note["message"] == f"{5_000 - FIRST - LAST} lines are left out here"
    assert [line["n"] for line in (note, *last)] == list(range(FIRST + 1, MAX_LOG_LINES + 1))
    assert [line["message"] for line in last] == [f"line {n}" for n in range(5_001 - LAST, 5_001)]
    assert lines.rest() == []


def test_lines_are_bounded_by_their_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblog, "FIRST_BYTES", 10_000)
    monkeypatch.setattr(joblog, "LAST_BYTES", 10_000)
    lines = JobLines()
    for n in range(1_000):
        lines.add("info", f"{n} {'x' * 1_000}", {})
    kept = lines.rest()
    assert len(kept) < 25
    assert kept[0]["message"].startswith("0 ")
    assert kept[-1]["message"].startswith("999 ")
