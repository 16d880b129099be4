"""What is sent, what is marked, and what is not sent twice."""

import asyncio
from typing import Any

import pytest

from distriqueue.core.errors import Fenced, StoreUnavailable
from orchestrator.duties import sender as module
from orchestrator.duties.sender import Sender, Sent
from tests.unit.orchestrator.fakes import FakeBroker, FakeJobs, dispatch


def sender(broker: Any, jobs: Any) -> Sender:
    return Sender(broker, jobs)


async def test_only_what_the_broker_confirmed_is_marked() -> None:
    held, refused = dispatch(), dispatch()
    broker, jobs = FakeBroker(refuse={refused.job_id}), FakeJobs()
    assert await sender(broker, jobs).send([held, refused], epoch=1) == Sent(offered=2, confirmed=1)
    assert (jobs.marked, jobs.epochs) == ([(held.job_id, 1)], [1])


async def test_what_is_on_its_way_is_not_sent_again() -> None:
    one, broker, jobs = dispatch(), FakeBroker(gate=asyncio.Event()), FakeJobs()
    each = sender(broker, jobs)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(each.send([one], epoch=1))
        await broker.asked.wait()
        assert await each.send([one], epoch=1) == Sent(offered=0, confirmed=0)
        assert broker.gate is not None
        broker.gate.set()
    assert first.result() == Sent(offered=1, confirmed=1)
    assert broker.published == [one]
    await each.send([one], epoch=1)  # it is pending again, say: its message was lost
    assert broker.published == [one, one]


async def test_what_was_confirmed_while_postgres_was_away_is_marked_later_and_not_sent_again() -> None:
    one, broker, jobs = dispatch(), FakeBroker(), FakeJobs(error=StoreUnavailable("away"))
    each = sender(broker, jobs)
    with pytest.raises(StoreUnavailable):
        await each.send([one], epoch=1)
    jobs.error = None
    assert await each.send([one], epoch=1) == Sent(offered=0, confirmed=0)
    assert (broker.published, jobs.marked) == ([one], [(one.job_id, 1)])


async def test_after_the_fence_nothing_is_remembered() -> None:
    one, broker, jobs = dispatch(), FakeBroker(), FakeJobs(error=Fenced("over"))
    each = sender(broker, jobs)
    with pytest.raises(Fenced):
        await each.send([one], epoch=1)
    jobs.error = None
    await each.mark(epoch=2)
    assert jobs.marked == []


async def test_what_waits_to_be_marked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNMARKED", 3)
    broker, jobs = FakeBroker(), FakeJobs(error=StoreUnavailable("away"))
    each = sender(broker, jobs)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await each.send([dispatch(), dispatch()], epoch=1)
    jobs.error = None
    await each.mark(epoch=1)
    assert len(jobs.marked) == 3


async def test_a_cancelled_send_is_no_longer_in_flight() -> None:
    one, broker = dispatch(), FakeBroker(gate=asyncio.Event())
    each = sender(broker, FakeJobs())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(each.send([one], epoch=1), 0.01)
    broker.gate = None
    assert (await each.send([one], epoch=1)).confirmed == 1
