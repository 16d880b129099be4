"""Where a bar is shown, and what it says."""

import re

import pytest
from rich import console as rich_console

from distriqueue.sdk.progress import progress_bar


def shown(capsys: pytest.CaptureFixture[str], *, wanted: bool = True, total: int | None = 3) -> str:
    with progress_bar("resize [80]", total=total, wanted=wanted) as tick:
        for _ in range(3):
            tick()
    out, err = capsys.readouterr()
    assert out == ""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)


def test_nobody_sees_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ""


def test_a_terminal_shows_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "resize [80]" in (text := shown(capsys))
    assert "3/3" in text
    assert "3/?" in shown(capsys, total=None)
    assert shown(capsys, wanted=False) == ""
    monkeypatch.setenv("TERM", "dumb")
    assert shown(capsys) == ""


def test_a_notebook_shows_it_by_richs_own_support(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    displayed: list[str] = []
    monkeypatch.setattr(rich_console, "_is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda _segments, text: displayed.append(text))
    monkeypatch.setattr("rich.live.Live.refresh", lambda live: displayed.append(str(live.console.is_jupyter)))
    assert shown(capsys) == ""
    assert displayed
