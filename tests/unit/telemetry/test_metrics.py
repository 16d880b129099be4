"""What every process counts alike."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import HistogramMetricFamily

from distriqueue.telemetry import metrics
from distriqueue.telemetry.metrics import LoopLag, PoolUse, Publishes, Tallied, new_registry


def shown(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"distriqueue_{name}", labels)


class Clock:
    """A clock that is told the time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_stall_of_the_loop_is_shown_for_a_window_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LAG_EVERY_S", 0.01)
    registry, clock = CollectorRegistry(), Clock()
    lag = LoopLag(registry, clock=clock)

    async def look_at(now: float) -> None:
        clock.now = now
        await asyncio.sleep(0.03)

    with lag.measured():
        await look_at(2.0)
        assert shown(registry, "event_loop_lag_seconds") == pytest.approx(1.99)
        await look_at(metrics.LAG_WINDOW_S + 0.01)  # a new window begins; 13 s late
        await look_at(2 * metrics.LAG_WINDOW_S)
        assert (shown(registry, "event_loop_lag_seconds") or 0) > 10
        for window in (3, 4, 5):
            for step in range(16):
                clock.now = (window + step / 16) * metrics.LAG_WINDOW_S
                lag._due = clock.now  # the loop is on time
                await asyncio.sleep(0.012)
    assert shown(registry, "event_loop_lag_seconds") == pytest.approx(0, abs=1.0)


def test_times_of_a_histogram_add_up_bucket_by_bucket() -> None:
    tallied = Tallied((0.1, 1.0))
    tallied.add(0, 2, 0.1)
    tallied.add(1, 1, 0.5)
    tallied.add(2, 3, 30.0)
    family = HistogramMetricFamily("times", "Times.", labels=["lane"])
    tallied.show(family, ["LOW"])
    samples = {(s.name, s.labels.get("le")): s.value for s in family.samples}
    assert samples == {
        ("times_bucket", "0.1"): 2,
        ("times_bucket", "1.0"): 3,
        ("times_bucket", "+Inf"): 6,
        ("times_count", None): 6,
        ("times_sum", None): pytest.approx(30.6),
    }


def test_pools_are_shown_as_they_are() -> None:
    registry = CollectorRegistry()
    registry.register(PoolUse(lambda: {"plain": (3, 1, 8)}))
    assert shown(registry, "store_connections", pool="plain", state="busy") == 3
    assert shown(registry, "store_connections", pool="plain", state="idle") == 1
    assert shown(registry, "store_connections_limit", pool="plain") == 8


def test_publishes_are_counted_by_outcome() -> None:
    registry = CollectorRegistry()
    publishes = Publishes(registry)
    publishes.told(5, 2, 0.01)
    assert shown(registry, "publishes_total", outcome="confirmed") == 5
    assert shown(registry, "publishes_total", outcome="left") == 2
    assert shown(registry, "publish_confirm_seconds_count") == 1


def test_a_process_says_who_it_is_and_nothing_of_when_its_figures_were_made() -> None:
    registry = new_registry("gateway", version="1.2.3")
    Publishes(registry)
    text = generate_latest(registry).decode()
    assert 'distriqueue_build_info{service="gateway",version="1.2.3"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text
