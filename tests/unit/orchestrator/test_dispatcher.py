"""Where the dispatcher goes on, and when it backs off."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from distriqueue.core.errors import BrokerUnavailable, StoreUnavailable
from distriqueue.core.job import Priority
from distriqueue.store.duties import Place, Stranded
from orchestrator.duties.dispatcher import Dispatcher
from orchestrator.duties.sender import Sender
from tests.unit.orchestrator.fakes import FakeBroker, FakeJobs, dispatch


class FakeStore:
    """Hands out batches as scripted."""

    def __init__(self, *batches: list[Stranded]) -> None:
        self.batches = list(batches)
        self.asked: list[dict[Priority, Place]] = []

    async def stranded(self, after: Mapping[Priority, Place], *, older_than_s: float, limit: int) -> list[Stranded]:
        assert (older_than_s, limit) == (1.0, 2)
        self.asked.append(dict(after))
        return self.batches.pop(0)


def stranded(priority: Priority, second: int) -> Stranded:
    one = dispatch(priority)
    return Stranded(one, Place(datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), one.job_id))


def dispatcher(store: Any, broker: Any, *, batch: int = 2) -> Dispatcher:
    jobs: Any = FakeJobs()
    return Dispatcher(store, Sender(broker, jobs), batch=batch)


async def test_goes_on_in_each_lane_where_the_last_full_batch_ended() -> None:
    first = [stranded(Priority.HIGH, 1), stranded(Priority.LOW, 2)]
    second = [stranded(Priority.LOW, 3), stranded(Priority.LOW, 4)]
    store = FakeStore(first, second, [stranded(Priority.LOW, 5)], [])
    each = dispatcher(store, FakeBroker())
    assert [(await each.run(1)).more for _ in range(4)] == [True, True, False, False]
    high = first[0].place
    assert store.asked == [
        {},
        {Priority.HIGH: high, Priority.LOW: first[1].place},
        {Priority.HIGH: high, Priority.LOW: second[1].place},
        {},
    ]


async def test_what_the_broker_refuses_does_not_hold_up_the_rest() -> None:
    refused, other = [stranded(Priority.CRITICAL, n) for n in (1, 2)], [stranded(Priority.LOW, 3)]
    broker = FakeBroker(refuse={each.dispatch.job_id for each in refused})
    store = FakeStore(refused, other)
    each = dispatcher(store, broker)
    with pytest.raises(BrokerUnavailable, match="none of 2"):
        await each.run(1)
    assert (await each.run(1)).done == 1
    assert store.asked[1] == {Priority.CRITICAL: refused[1].place}


async def test_stays_where_it_is_while_the_broker_is_away() -> None:
    batch = [stranded(Priority.HIGH, 1), stranded(Priority.LOW, 2)]
    store, broker = FakeStore([], batch, batch), FakeBroker(connected=False)
    each = dispatcher(store, broker)
    assert (await each.run(1)).done == 0  # nothing waits, so nothing is wrong
    with pytest.raises(BrokerUnavailable, match="not connected"):
        await each.run(1)
    assert broker.published == []
    broker.connected = True
    assert (await each.run(1)).done == 2
    assert store.asked == [{}, {}, {}]


async def test_what_others_are_sending_is_no_fault_of_the_broker() -> None:
    batch = [stranded(Priority.HIGH, 1)]
    jobs: Any = FakeJobs(error=StoreUnavailable("away"))
    broker: Any = FakeBroker()
    sender = Sender(broker, jobs)
    with pytest.raises(StoreUnavailable):
        await sender.send([each.dispatch for each in batch], epoch=1)
    jobs.error = None
    store: Any = FakeStore(batch)

    async def nothing(*, epoch: int) -> None:
        assert epoch == 1

    sender.mark = nothing  # type: ignore[method-assign]
    assert (await Dispatcher(store, sender, batch=2).run(1)).done == 0
