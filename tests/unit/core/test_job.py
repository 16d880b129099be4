import time

import pytest

from distriqueue.core.job import Priority, new_job_id


def test_job_ids_are_version_7_and_sort_by_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = new_job_id()
    after_ms = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before_ms <= made.int >> 80 <= after_ms


def test_job_ids_differ() -> None:
    assert len({new_job_id() for _ in range(10_000)}) == 10_000


def test_a_priority_is_read_in_any_case_and_a_wrong_one_is_named() -> None:
    assert Priority.parse("hIgH") is Priority.HIGH
    with pytest.raises(ValueError, match="'urgent'"):
        Priority.parse("urgent")
