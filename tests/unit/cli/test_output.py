"""Answers for people and for programs: nothing that others wrote is obeyed, and colours are for terminals."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.text import Text

from distriqueue.cli import output
from distriqueue.cli.errors import report
from distriqueue.cli.exits import Exit, NoStack, exit_code
from distriqueue.cli.waiting import NotInTime
from distriqueue.core import errors
from distriqueue.core.errors import DistriQueueError
from distriqueue.filterlang import WrongFilter
from distriqueue.local.control import NotStarted

EVIL = "a\x1b]0;title\x07\x9b31m[bold]b"
NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def test_a_terminal_is_not_told_to_do_anything(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(EVIL)
    output.show(output.table(("A",), [(EVIL,)]))
    output.show(output.fields([("a", EVIL)]))
    report(errors.NotFound(EVIL))
    captured = capsys.readouterr()
    for said in (captured.out, captured.err):
        assert not any(char in said for char in "\x1b\x07\x9b")
        assert "[bold]b" in said


def test_json_escapes_control_characters_and_keeps_letters(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_json({"text": f"{EVIL} é"})
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "é" in out
    assert json.loads(out) == {"text": f"{EVIL} é"}


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color(no_color: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    output.show(output.table(("S",), [(output.coloured("failed"),)]))
    assert ("\x1b[31m" in capsys.readouterr().out) is not no_color


def test_a_pipe_gets_wide_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(output.table(("A", "B"), [("x" * 90, "y" * 90)]))
    assert f"{'x' * 90}  {'y' * 90}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (None, None),
        ("2030-01-31T11:59:57.5Z", "2.5 s ago"),
        ("2030-01-31T11:00:00Z", "60 min ago"),
        ("2030-01-31T09:00:00Z", "3 h ago"),
        ("2030-02-07T12:00:00Z", "in 7 d"),
    ],
)
def test_how_long_ago(at: str | None, said: str | None) -> None:
    assert output.ago(at, NOW) == said


def test_cells_and_lines() -> None:
    assert [str(output.cell(value)) for value in (None, "", 0, 1234, 0.25, Text("x"))] == [
        "-",
        "-",
        "0",
        "1,234",
        "0.2",
        "x",
    ]
    assert output.short("one\ntwo") == "one"
    assert output.short("x" * 100, 10) == f"{'x' * 9}…"
    assert output.compact({"é": [1]}) == '{"é": [1]}'
    assert [output.milliseconds(value) for value in (None, 12.3, 5_000.0)] == [None, "12 ms", "5.0 s"]
    assert [output.plural(count, "job") for count in (0, 1, 2_000)] == ["0 jobs", "1 job", "2,000 jobs"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadSetting("x"), 2),
        (WrongFilter("x", text="", start=0, end=0), 2),
        (errors.PayloadTooLarge("x"), 2),
        (errors.StoreUnavailable("x"), 3),
        (NoStack("x"), 3),
        (errors.Unauthorized("x"), 4),
        (errors.Forbidden("x"), 4),
        (errors.NotFound("x"), 5),
        (errors.Conflict("x"), 6),
        (errors.RateLimited("x"), 7),
        (NotInTime("x"), 7),
        (errors.Fenced("x"), 1),
        (NotStarted("x", tail=[], status=2), 2),
        (NotStarted("x", tail=[], status=1), 1),
    ],
)
def test_exit_codes(error: DistriQueueError, code: int) -> None:
    assert exit_code(error) == code


def test_the_exit_codes_are_documented() -> None:
    text = Path(__file__).parents[3].joinpath("docs/cli.md").read_text(encoding="utf-8")
    for code in Exit:
        assert f"| {code:d} |" in text
