"""What `distriqueue apikey` says when it is used wrongly."""

from pathlib import Path

import pytest

from tests.unit.cli.commands import run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create"], "Missing argument 'name'"),
        (["create", "me"], "Missing option '--scope'"),
        (["create", "me", "--scope", "root"], "'root' is not one of"),
        (["create", "two\nlines", "--scope", "read"], "NAME must be 1 to 100 characters in one line"),
        (["create", "me", "--scope", "read", "--expires", "30"], "--expires must be a number and s, m, h, d or w"),
        (["create", "me", "--scope", "read", "--expires", "0d"], "--expires must be a number"),
        (["create", "me", "--scope", "read", "--expires", "36501d"], "at most 100 years"),
        (["create", "me", "--scope", "read", "--requests-per-second", "0"], "must be more than 0"),
        (["create", "me", "--scope", "read", "--requests-per-second", "nan"], "must be more than 0"),
        (["revoke"], "Missing argument 'ID'"),
    ],
)
def test_wrong_use_is_said_and_exits_2(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "apikey", *arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["create", "me", "--scope", "read"], ["list"], ["revoke", "x"]])
def test_where_no_stack_runs_it_says_so(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "none"
    assert run(monkeypatch, "apikey", *arguments, "--home", str(home)) == 3
    assert f"error: no stack runs in {home}: name its home by --home, or the database" in capsys.readouterr().err
    assert not home.exists()


def test_a_key_that_cannot_be_sent_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "cluster", "status", "--orchestrators", "http://127.0.0.1:1", key="two words") == 2
    errors = capsys.readouterr().err
    assert "DISTRIQUEUE_API_KEY" in errors
    assert "two words" not in errors
