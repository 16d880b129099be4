"""A broker that lost what it held, on both brokers: everything is sent again, and nothing that was not lost."""

from collections.abc import AsyncIterator, Mapping

import pytest

from distriqueue.core.errors import Fenced
from distriqueue.core.job import JobId, Priority
from distriqueue.core.ports import LaneDepth
from distriqueue.store.routing import RoutingStore
from orchestrator.duties.dispatcher import Dispatcher
from orchestrator.duties.reconciler import Reconciler
from tests.conftest import forget_topology
from tests.integration.leader import Leader, connected, leading


@pytest.fixture(params=["postgres", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def leader(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Leader]:
    """A leader on each broker."""
    url = None
    if request.param == "rabbitmq":
        url = request.getfixturevalue("rabbitmq_server").url
        await forget_topology(url)
    async with leading(database_url, broker_url=url) as each:
        await connected(each.broker)
        yield each


@pytest.fixture
async def postgres_leader(database_url: str) -> AsyncIterator[Leader]:
    """A leader on the Postgres broker, for what does not depend on it."""
    async with leading(database_url) as each:
        yield each


def reconciler(leader: Leader, *, batch: int = 500) -> Reconciler:
    return Reconciler(leader.duties, leader.broker, leader.sender, older_than_s=15.0, batch=batch)


async def queued(leader: Leader, *, ago_s: float, priority: Priority = Priority.MEDIUM) -> JobId:
    """Submit and send a job, as of some seconds ago."""
    job_id = await leader.submit(priority)
    await leader.change(job_id, "ready_at = now() - interval '2 s'")
    assert (await Dispatcher(leader.duties, leader.sender).run(leader.epoch)).done == 1
    await leader.change(job_id, f"queued_at = now() - interval '{ago_s} s'")
    return job_id


class Depths:
    """A broker that shows depths as scripted."""

    def __init__(self, *ready: int) -> None:
        self.ready = list(ready)

    async def depths(self) -> Mapping[Priority, LaneDepth]:
        depth = LaneDepth(ready=self.ready.pop(0), unacked=0, consumers=0)
        return dict.fromkeys(Priority, depth)


async def test_what_a_purged_broker_lost_is_sent_again(leader: Leader) -> None:
    old = [await queued(leader, ago_s=20 - number, priority=priority) for number, priority in enumerate(Priority)]
    young = await queued(leader, ago_s=5)
    await leader.broker.purge()
    assert await leader.sent() == 0
    assert (await reconciler(leader).run(leader.epoch)).done == 4
    assert await leader.sent() == 4
    assert await leader.statuses(*old, young) == ["queued"] * 5
    assert {(await leader.row(job_id))["attempt"] for job_id in old} == {1}
    assert (await reconciler(leader).run(leader.epoch)).done == 0
    await leader.run_on("w1", old[0])


async def test_what_the_broker_holds_is_not_sent_again(leader: Leader) -> None:
    await queued(leader, ago_s=60)
    assert (await reconciler(leader).run(leader.epoch)).done == 0
    assert await leader.sent() == 1


async def test_a_lane_with_messages_hides_no_other(leader: Leader) -> None:
    lost = await queued(leader, ago_s=60, priority=Priority.LOW)
    await leader.broker.purge()
    await queued(leader, ago_s=60, priority=Priority.HIGH)
    assert (await reconciler(leader).run(leader.epoch)).done == 1
    assert await leader.sent() == 2
    assert (await leader.now() - (await leader.row(lost))["queued_at"]).total_seconds() < 5


async def test_longest_queued_first_and_all_of_it_although_the_lane_fills(postgres_leader: Leader) -> None:
    leader = postgres_leader
    jobs = [await queued(leader, ago_s=20 + number) for number in range(5)]
    await leader.broker.purge()
    each = reconciler(leader, batch=2)
    outcomes = [await each.run(leader.epoch) for _ in range(4)]
    assert [(outcome.done, outcome.more) for outcome in outcomes] == [(2, True), (2, True), (1, False), (0, False)]
    again = [(await leader.row(job_id))["queued_at"] for job_id in jobs]
    assert again[4] == again[3] < again[2] == again[1] < again[0]


@pytest.mark.parametrize("ready", [(1,), (0, 1)])
async def test_a_message_that_shows_up_meanwhile_is_not_lost(postgres_leader: Leader, ready: tuple[int, ...]) -> None:
    leader = postgres_leader
    await queued(leader, ago_s=60)
    each = Reconciler(leader.duties, Depths(*ready), leader.sender)  # type: ignore[arg-type]
    assert (await each.run(leader.epoch)).done == 0
    assert await leader.sent() == 1


async def test_a_claimed_job_is_not_sent_again(postgres_leader: Leader) -> None:
    leader = postgres_leader
    job_id = await queued(leader, ago_s=60)
    await leader.broker.purge()
    await leader.run_on("w1", job_id)
    assert (await reconciler(leader).run(leader.epoch)).done == 0
    assert await leader.statuses(job_id) == ["running"]


async def test_a_rule_tells_which_lane_must_be_empty(postgres_leader: Leader) -> None:
    leader = postgres_leader
    await queued(leader, ago_s=60, priority=Priority.LOW)
    await leader.broker.purge()
    await queued(leader, ago_s=1, priority=Priority.CRITICAL)
    routing = RoutingStore(leader.database)
    await routing.set_rule("calculate", Priority.CRITICAL)
    assert (await reconciler(leader).run(leader.epoch)).done == 0
    await routing.delete_rule("calculate")
    assert (await reconciler(leader).run(leader.epoch)).done == 1


async def test_a_stale_leader_sends_nothing(postgres_leader: Leader) -> None:
    leader = postgres_leader
    job_id = await queued(leader, ago_s=60)
    await leader.broker.purge()
    await leader.leadership.claim(2, node="node2", boot="boot2")
    with pytest.raises(Fenced):
        await reconciler(leader).run(leader.epoch)
    assert (await leader.statuses(job_id), await leader.sent()) == (["queued"], 0)
