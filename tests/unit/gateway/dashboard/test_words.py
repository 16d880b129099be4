"""Figures as people read them."""

from datetime import UTC, datetime

import pytest

from gateway.dashboard import words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0, "0"),
        (0.1234, "0.123"),
        (7, "7"),
        (950, "950"),
        (9_481, "9,481"),
        (12_300, "12.3k"),
        (999_400, "999k"),
        (999_500, "1M"),
        (1_250_000, "1.25M"),
    ],
)
def test_counts(value: float | None, said: str) -> None:
    assert words.count(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.0031, "3.1 ms"),
        (0.25, "250 ms"),
        (1.2349, "1.23 s"),
        (59.94, "59.9 s"),
        (185, "3 min 5 s"),
        (180, "3 min"),
        (7_620, "2 h 7 min"),
        (90_000, "1 d 1 h"),
        (-3, "0 ms"),
    ],
)
def test_spans(seconds: float | None, said: str) -> None:
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, "–"), (0, "0 %"), (0.0031, "0.31 %"), (0.042, "4.2 %"), (0.87, "87 %"), (0.00001, "< 0.01 %")],
)
def test_shares(share: float | None, said: str) -> None:
    assert words.percent(share) == said


def test_times_and_sizes() -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert words.moment(at) == "2030-01-02 03:04:05"
    assert words.stamp(at) == "2030-01-02T03:04:05.678Z"
    assert [words.size(size) for size in (812, 4_100, 32_000, 3_200_000)] == ["812 B", "4.1 kB", "32 kB", "3.2 MB"]


def test_a_name_at_the_start_of_a_sentence_stays_as_it_is() -> None:
    assert words.sentence("it completed") == "It completed."
    assert words.sentence("worker1.3f runs it") == "worker1.3f runs it."
    assert words.sentence("Why?") == "Why?"
    assert words.sentence("it does not answer: ") == "It does not answer."
