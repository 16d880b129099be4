"""A handler's policy for what it raises."""

from typing import Any

import pytest

from distriqueue.core.errors import Discard, Retry
from workers.runtime.outcome import MAX_RETRY_AFTER_S, raised
from workers.runtime.retries import Retries


def test_only_what_is_named_is_worth_a_retry() -> None:
    retries = Retries(on=(OSError,), never=(FileNotFoundError,))
    assert raised(ConnectionError("gone"), retries).retryable
    assert not raised(FileNotFoundError("never there"), retries).retryable
    assert not raised(ValueError("wrong"), retries).retryable
    assert raised(ValueError("no policy")).retryable
    assert raised(ValueError("any"), Retries()).retryable
    assert raised(SystemExit(1), Retries()).retryable


def test_the_delay_grows_by_attempts_up_to_its_cap() -> None:
    retries = Retries(delay_s=2, factor=3.0, cap_s=20)
    waits = [raised(ValueError(), retries, attempt=attempt).retry_after_s for attempt in (1, 2, 3, 4, 10_000)]
    assert waits == [2, 6, 18, 20, 20]
    assert raised(ValueError(), Retries()).retry_after_s is None
    assert raised(ValueError(), Retries(delay_s=1e9, cap_s=1e9)).retry_after_s == MAX_RETRY_AFTER_S


def test_what_a_handler_says_itself_counts() -> None:
    never = Retries(on=())
    asked = raised(Retry("later", delay_s=7), never)
    assert (asked.retryable, asked.retry_after_s) == (True, 7)
    assert not raised(Discard("no"), Retries(delay_s=1)).retryable


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"on": ("ValueError",)}, TypeError),
        ({"never": (3,)}, TypeError),
        ({"delay_s": -1}, ValueError),
        ({"factor": 0.5}, ValueError),
        ({"cap_s": 0}, ValueError),
    ],
)
def test_a_wrong_policy_is_refused_where_it_is_written(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Retries(**wrong)
