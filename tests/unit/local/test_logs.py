"""Where lines go."""

import io
from pathlib import Path

from distriqueue.local.home import Home
from distriqueue.local.logs import FileLines, Follow, TerminalLines, last_lines
from distriqueue.local.state import Role


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_line_stands_behind_its_process() -> None:
    out = io.StringIO()
    lines = TerminalLines(out)
    lines.write(Role.WORKER, "worker1", "job_claimed [red]not markup[/red]")
    lines.announce("stopping worker1")
    assert out.getvalue().splitlines() == [
        "worker1       | job_claimed [red]not markup[/red]",
        "distriqueue   | stopping worker1",
    ]


def test_on_a_terminal_each_role_has_its_colour() -> None:
    out = Terminal()
    lines = TerminalLines(out)
    lines.write(Role.GATEWAY, "gateway1", "a")
    lines.write(Role.WORKER, "worker1", "b")
    first, second = out.getvalue().splitlines()
    assert first == "\x1b[32mgateway1      |\x1b[0m a"
    assert second == "\x1b[36mworker1       |\x1b[0m b"


def test_files_are_put_aside_when_they_grow(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    lines = FileLines(home, size_bytes=30, keep=2)
    for number in range(20):
        lines.write(Role.WORKER, "worker1", f"line {number:05d}")
    lines.close()
    names = sorted(each.name for each in home.logs.iterdir())
    assert names == ["worker1.log", "worker1.log.1", "worker1.log.2"]
    assert last_lines(home.log_of("worker1"))[-1] == "line 00019"
    assert all(each.stat().st_size < 50 for each in home.logs.iterdir())


def test_follow_gives_what_came_since_and_whole_lines_only(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\n", encoding="utf-8")
    follow = Follow(log)
    with log.open("a", encoding="utf-8") as file:
        file.write("one\ntw")
        file.flush()
        assert follow.lines() == ["one"]
        file.write("o\n")
        file.flush()
        assert follow.lines() == ["two"]
        assert follow.lines() == []


def test_the_end_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log") == []
