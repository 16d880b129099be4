"""Payloads and times on the command line."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distriqueue.cli.arguments import moment_of, past_of, payload_of, seconds_of
from distriqueue.core.errors import BadSetting


def test_a_payload_is_given_in_place_from_a_file_or_by_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.json"
    file.write_text('{"é": 1}', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"b": 2}'))
    assert payload_of(None) == {}
    assert payload_of('{"a": [1]}') == {"a": [1]}
    assert payload_of(f"@{file}") == {"é": 1}
    assert payload_of("-") == {"b": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--payload: no JSON: Expecting value, line 1 column 1 (in a shell, put it into single quotes)"),
        ("{a: 1}", "line 1 column 2 (in a shell, put it into single quotes)"),
        ("null", 'must be an object such as {"numbers": [1, 2]}, not null'),
        ("[]", "not an array"),
        ('"x"', "not a string"),
        ("1.5", "not a number"),
        ("true", "not a boolean"),
        ("@", "--payload: cannot read . (Is a directory)"),
        ("[" * 100_000, "--payload: no JSON"),
    ],
)
def test_what_is_wrong_with_a_payload(text: str, said: str) -> None:
    with pytest.raises(BadSetting) as wrong:
        payload_of(text)
    assert said in wrong.value.message


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_text("{\n]", encoding="utf-8")
    with pytest.raises(BadSetting, match=rf"--payload: no JSON in {file}: .*, line 2 column 1$"):
        payload_of(f"@{file}")
    file.write_bytes(b"\xff")
    with pytest.raises(BadSetting, match=rf"--payload: no JSON in {file}: 'utf-8'"):
        payload_of(f"@{file}")


def test_moments() -> None:
    assert moment_of(None, "--x") is None
    assert moment_of("2030-01-31T12:00:00+02:00", "--x") == "2030-01-31T10:00:00Z"
    soon = datetime.fromisoformat(moment_of("10m", "--x") or "")
    assert timedelta(minutes=9) < soon - datetime.now(UTC) <= timedelta(minutes=10)
    earlier = datetime.fromisoformat(past_of("2h", "--x") or "")
    assert timedelta(hours=2) <= datetime.now(UTC) - earlier < timedelta(hours=2, minutes=1)
    for text in ("2030-01-31T12:00:00", "soon", "", "99999999999w"):
        with pytest.raises(BadSetting, match="--x must be a time with its offset"):
            moment_of(text, "--x")


def test_seconds() -> None:
    assert [seconds_of(text, "--x") for text in (None, "90", "90s", "5m", "1h")] == [None, 90.0, 90.0, 300.0, 3600.0]
    for text in ("0", "-1", "", "1.5", "5 m", "long"):
        with pytest.raises(BadSetting, match="--x must be seconds, or a number and s, m, h, d or w"):
            seconds_of(text, "--x")
