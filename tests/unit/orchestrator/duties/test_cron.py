"""When schedules fire: fields, time zones, the days on which clocks change, and what is late."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from distriqueue.core.errors import InvalidRequest
from distriqueue.cron import MAX_FIRES, MAX_TIMES, Cron, Due, due

SPRING, AUTUMN = datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)
"""The evenings before Berlin goes from +1 to +2 at 01:00 UTC, and back at 01:00 UTC."""


def times(expression: str, after: datetime, count: int, zone: str = "Europe/Berlin") -> list[str]:
    return [f"{at:%d %H:%M:%S}" for at in islice(Cron.parse(expression, zone).after(after), count)]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # Minute and hour are fixed: what the gap swallows fires at its end, what comes twice fires the first time.
        ("30 2 * * *", SPRING, ["29 01:00:00", "30 00:30:00"]),
        ("30 2 * * *", AUTUMN, ["25 00:30:00", "26 01:30:00"]),
        ("0,30 2,3 * * *", SPRING, ["29 01:00:00", "29 01:30:00", "30 00:00:00"]),
        # … also when asked between the two.
        ("30 2 * * *", datetime(2026, 10, 25, 1, 5, tzinfo=UTC), ["26 01:30:00"]),
        # A star: by the clock on the wall, hour after hour.
        ("30 * * * *", SPRING, ["28 22:30:00", "28 23:30:00", "29 00:30:00", "29 01:30:00"]),
        ("30 * * * *", AUTUMN, ["24 22:30:00", "24 23:30:00", "25 00:30:00", "25 01:30:00", "25 02:30:00"]),
        # With seconds: nothing in the gap, both times in the overlap.
        ("0 30 2 * * *", SPRING, ["30 00:30:00"]),
        ("0 30 2 * * *", AUTUMN, ["25 00:30:00", "25 01:30:00", "26 01:30:00"]),
        ("*/20 * * * * *", SPRING, ["28 22:00:20", "28 22:00:40", "28 22:01:00"]),
    ],
)
def test_where_clocks_change(expression: str, after: datetime, expected: list[str]) -> None:
    assert times(expression, after, len(expected)) == expected


def test_every_second_of_an_hour_without_a_gap_over_the_change_of_clocks() -> None:
    cron = Cron.parse("* * * * * *", "Europe/Berlin")
    for day in (SPRING, AUTUMN):
        start = day + timedelta(hours=2, minutes=30)
        made = list(islice(cron.after(start), 3600))
        assert made == [start + timedelta(seconds=number) for number in range(1, 3601)]


def test_times_go_on_from_any_of_them() -> None:
    for expression in ("30 2 * * *", "0,30 2,3 * * *", "*/10 * * * *", "15 1-4 * * *", "0 30 2 * * *"):
        cron = Cron.parse(expression, "Europe/Berlin")
        for start in (SPRING, AUTUMN):
            made = list(islice(cron.after(start), 12))
            assert made == sorted(set(made))
            for index, at in enumerate(made[:-1]):
                assert next(cron.after(at)) == made[index + 1], (expression, at)


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "", "a\0b", "Europe"])
def test_a_wrong_time_zone_is_named(zone: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        Cron.parse("* * * * *", zone)
    assert wrong.value.errors[0]["field"] == "timezone"


@pytest.mark.parametrize("expression", ["", "* * * *", "* * * * * * *", "61 * * * *", "0 0 31 2 *", "@day", "*" * 201])
def test_a_wrong_expression_is_named(expression: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        Cron.parse(expression)
    assert wrong.value.errors[0]["field"] == "cron"


class TestDue:
    NOW = datetime(2026, 5, 5, 12, 0, 0, 500_000, tzinfo=UTC)
    CRON = Cron.parse("* * * * * *")

    def ago(self, seconds: float) -> datetime:
        return self.NOW.replace(microsecond=0) - timedelta(seconds=seconds)

    def test_nothing_before_its_time(self) -> None:
        soon = self.ago(-1)
        assert due(self.CRON, soon, self.NOW, grace_s=60) == Due([], 0, soon)

    def test_all_within_the_grace(self) -> None:
        assert due(self.CRON, self.ago(2), self.NOW, grace_s=60) == Due(
            [self.ago(2), self.ago(1), self.ago(0)], 0, self.ago(-1)
        )

    def test_those_older_are_missed(self) -> None:
        decided = due(self.CRON, self.ago(100), self.NOW, grace_s=2)
        assert decided == Due([self.ago(1), self.ago(0)], 99, self.ago(-1))

    def test_the_newest_fires_however_late(self) -> None:
        hourly = Cron.parse("0 3 * * *")
        first, last = datetime(2026, 5, 1, 3, tzinfo=UTC), datetime(2026, 5, 5, 3, tzinfo=UTC)
        assert due(hourly, first, self.NOW, grace_s=0) == Due([last], 4, last + timedelta(days=1))

    def test_the_last_fire_of_all_leaves_none(self) -> None:
        assert due(Cron.parse("0 3 * * *"), self.ago(0), self.NOW, grace_s=0).next_fire is not None

    def test_steps_are_bounded_and_lose_none(self) -> None:
        at, made, missed, steps = self.ago(50_000), [], 0, 0
        while at <= self.NOW:
            decided = due(self.CRON, at, self.NOW, grace_s=1_000)
            assert len(decided.fires) <= MAX_FIRES
            assert decided.next_fire is not None
            assert decided.next_fire > at
            made += decided.fires
            missed += decided.missed
            at, steps = decided.next_fire, steps + 1
        assert steps == pytest.approx(50_000 / MAX_TIMES + 1_000 / MAX_FIRES, abs=2)
        assert (len(made), missed) == (1_000, 49_001)
        assert made == [self.ago(999 - number) for number in range(1_000)]
