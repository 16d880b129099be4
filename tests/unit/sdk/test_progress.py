"""Where a bar is shown, and what it says."""

import io
import re

import pytest
from rich import console as rich_console
from rich.console import Console
from rich.live import Live

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


def test_what_is_printed_into_a_pipe_stays_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress_bar("resize", total=1, wanted=True) as tick:
        print("a result")
        tick()
    out, err = capsys.readouterr()
    assert out == "a result\n"
    assert "a result" not in err


def test_a_notebook_shows_it_by_richs_own_support_to_the_last_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def draw(live: Live) -> None:
        screen = Console(file=io.StringIO(), width=80, force_jupyter=False)
        screen.print(live.get_renderable())
        drawn.append(screen.file.getvalue())  # type: ignore[attr-defined]

    monkeypatch.setattr(rich_console, "_is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda _segments, _text: None)
    monkeypatch.setattr("rich.live.Live.refresh", draw)
    with progress_bar("resize", total=3, wanted=True) as tick:
        for _ in range(3):
            tick()
        print("a result")
    assert capsys.readouterr() == ("a result\n", "")
    assert "3/3" in drawn[-1]
