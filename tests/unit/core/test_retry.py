import random

from hypothesis import given
from hypothesis import strategies as st

from distriqueue.core.retry import DEFAULT_RETRY_POLICY, RetryPolicy, backoff_s


@given(retry=st.integers(0, 10_000), seed=st.integers(0, 1000))
def test_the_wait_doubles_up_to_the_cap_within_the_jitter(retry: int, seed: int) -> None:
    full_s = min(2.0 * 2.0 ** min(retry, 60), 600.0)
    assert full_s / 2 <= DEFAULT_RETRY_POLICY.delay_s(retry, random.Random(seed)) < full_s


def test_the_jitter_spreads() -> None:
    rng = random.Random(1)
    waits = [RetryPolicy(base_s=10, factor=1).delay_s(0, rng) for _ in range(1000)]
    assert min(waits) < 5.5
    assert max(waits) > 9.5


def test_a_loops_first_failure_waits_the_base() -> None:
    assert 0.05 <= backoff_s(1, random.Random(1)) < 0.1
