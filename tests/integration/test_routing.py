"""Rules and paused lanes: at dispatch, at the claim, in what workers are told; and how jobs come back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from distriqueue.core.errors import NotFound, StoreUnavailable
from distriqueue.core.job import JobId, Priority
from distriqueue.core.messages import Answer, Heartbeat, Report, ReportStatus
from distriqueue.store import duties
from distriqueue.store.reports import ReportStore
from distriqueue.store.routing import REFRESH_S, Routes, Routing, RoutingStore
from orchestrator.duties.dispatcher import Dispatcher
from orchestrator.duties.sender import Sender
from orchestrator.registry import Registry
from tests.integration.gateway import running_gateway
from tests.integration.leader import Leader, leading
from tests.unit.orchestrator.fakes import Noted, dispatch


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


@pytest.fixture
def store(leader: Leader) -> RoutingStore:
    return RoutingStore(leader.database)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def routing(store: RoutingStore, clock: Clock) -> Routing:
    return Routing(store, clock=clock)


async def old(leader: Leader, priority: Priority = Priority.MEDIUM) -> JobId:
    job_id = await leader.submit(priority)
    await leader.change(job_id, "ready_at = now() - interval '2 s'")
    return job_id


async def claim(reports: ReportStore, *job_ids: JobId, worker: str = "w1") -> list[tuple[Answer, str | None]]:
    wanted = [Report(job_id=job_id, attempt=1, status=ReportStatus.RUNNING, worker_id=worker) for job_id in job_ids]
    return [(answer.answer, answer.reason) for answer in (await reports.apply(wanted)).answers]


async def ready(leader: Leader) -> dict[Priority, int]:
    return {lane: depth.ready for lane, depth in (await leader.broker.depths()).items() if depth.ready}


def test_routes() -> None:
    one, other = dispatch(Priority.LOW), dispatch(Priority.HIGH)
    assert Routes().open([one, other]) == [one, other]
    paused = Routes(paused=frozenset({Priority.HIGH}))
    assert paused.open([one, other]) == [one]
    ruled = Routes({"calculate": Priority.CRITICAL}, frozenset({Priority.HIGH}))
    assert [each.priority for each in ruled.open([one, other])] == [Priority.CRITICAL] * 2
    assert Routes({"calculate": Priority.HIGH}, frozenset({Priority.HIGH})).open([one]) == []


async def test_the_copy_is_refreshed_and_survives_an_outage(
    store: RoutingStore, routing: Routing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.set_rule("calculate", Priority.HIGH)
    await store.pause(Priority.LOW, reason="maintenance")
    assert await routing.fresh() == Routes({"calculate": Priority.HIGH}, frozenset({Priority.LOW}))
    await store.set_rule("calculate", Priority.LOW)
    await store.resume(Priority.LOW)
    assert (await routing.fresh()).paused == {Priority.LOW}
    clock.now += REFRESH_S

    async def away() -> Routes:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(store, "load", away)
        assert (await routing.fresh()).paused == {Priority.LOW}
    clock.now += REFRESH_S
    assert await routing.fresh() == Routes({"calculate": Priority.LOW}, frozenset())
    await store.delete_rule("calculate")
    with pytest.raises(NotFound):
        await store.delete_rule("calculate")


async def test_lanes_say_why_they_rest(store: RoutingStore) -> None:
    await store.pause(Priority.LOW, reason="maintenance")
    lanes = await store.lanes()
    assert (lanes[Priority.LOW].paused, lanes[Priority.LOW].reason) == (True, "maintenance")
    assert not any(lanes[lane].paused for lane in Priority if lane is not Priority.LOW)


async def test_the_leader_sends_by_the_rule(leader: Leader, store: RoutingStore, routing: Routing) -> None:
    await store.set_rule("calculate", Priority.CRITICAL)
    job_id = await old(leader, Priority.LOW)
    sender = Sender(leader.broker, leader.jobs, routing)
    assert (await Dispatcher(leader.duties, sender).run(leader.epoch)).done == 1
    assert (await ready(leader), await leader.statuses(job_id)) == ({Priority.CRITICAL: 1}, ["queued"])


async def test_a_paused_lane_is_not_sent_to_until_it_goes_on(
    leader: Leader, store: RoutingStore, routing: Routing, clock: Clock
) -> None:
    await store.pause(Priority.LOW)
    low, high = await old(leader, Priority.LOW), await old(leader, Priority.HIGH)
    dispatcher = Dispatcher(leader.duties, Sender(leader.broker, leader.jobs, routing))
    assert (await dispatcher.run(leader.epoch)).done == 1
    assert (await dispatcher.run(leader.epoch)).done == 0
    assert await leader.statuses(low, high) == ["pending", "queued"]
    await store.resume(Priority.LOW)
    clock.now += REFRESH_S
    assert (await dispatcher.run(leader.epoch)).done == 1
    assert await ready(leader) == {Priority.LOW: 1, Priority.HIGH: 1}


@pytest.mark.parametrize(("rule", "sent"), [(Priority.HIGH, 0), (Priority.CRITICAL, 1)])
async def test_the_rule_decides_which_pause_counts(
    leader: Leader, store: RoutingStore, routing: Routing, rule: Priority, sent: int
) -> None:
    await store.set_rule("calculate", rule)
    for lane in (Priority.HIGH, Priority.LOW):
        await store.pause(lane)
    await old(leader, Priority.LOW)
    stranded = await leader.duties.stranded({}, older_than_s=1, limit=10)
    assert len(stranded) == sent
    sender = Sender(leader.broker, leader.jobs, routing)
    assert (await Dispatcher(leader.duties, sender).run(leader.epoch)).done == sent
    job_id = await old(leader, Priority.LOW)
    reports = ReportStore(leader.database, routing)
    expected = (Answer.ACCEPTED, None) if sent else (Answer.REFUSED, "queue_paused")
    assert await claim(reports, job_id) == [expected]


async def test_a_backlog_that_is_held_back_is_passed_by_in_bounded_steps(
    leader: Leader, store: RoutingStore, routing: Routing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "LOOKED_AT", 3)
    await store.set_rule("held", Priority.HIGH)
    await store.pause(Priority.HIGH)
    for _ in range(7):
        await leader.change(await old(leader, Priority.LOW), "type = 'held'")
    behind = await old(leader, Priority.LOW)
    dispatcher = Dispatcher(leader.duties, Sender(leader.broker, leader.jobs, routing))
    outcomes = [await dispatcher.run(leader.epoch) for _ in range(3)]
    assert [(each.done, each.more) for each in outcomes] == [(0, False), (0, False), (1, False)]
    assert await leader.statuses(behind) == ["queued"]
    await store.resume(Priority.HIGH)
    clock.now += REFRESH_S
    assert (await dispatcher.run(leader.epoch)).done == 7
    assert await ready(leader) == {Priority.HIGH: 7, Priority.LOW: 1}


async def test_a_claim_of_a_paused_lane_is_refused_and_its_job_comes_back(
    leader: Leader, store: RoutingStore, routing: Routing, clock: Clock
) -> None:
    paused, other = await old(leader, Priority.LOW), await old(leader, Priority.HIGH)
    sender = Sender(leader.broker, leader.jobs, routing)
    dispatcher = Dispatcher(leader.duties, sender)
    assert (await dispatcher.run(leader.epoch)).done == 2
    await leader.broker.purge()  # workers have them in hand
    await store.pause(Priority.LOW)
    clock.now += REFRESH_S
    reports = ReportStore(leader.database, routing)
    assert await claim(reports, paused, other) == [(Answer.REFUSED, "queue_paused"), (Answer.ACCEPTED, None)]
    assert await leader.statuses(paused, other) == ["pending", "running"]
    assert await claim(reports, other, paused) == [(Answer.ACCEPTED, None), (Answer.REFUSED, "queue_paused")]
    assert (await dispatcher.run(leader.epoch)).done == 0  # no hot loop
    await store.resume(Priority.LOW)
    clock.now += REFRESH_S
    assert (await dispatcher.run(leader.epoch)).done == 1
    assert await claim(reports, paused) == [(Answer.ACCEPTED, None)]
    assert (await leader.row(paused))["attempt"] == 1


async def test_what_runs_goes_on_and_ends_while_its_lane_is_paused(
    leader: Leader, store: RoutingStore, routing: Routing
) -> None:
    job_id = await leader.submit(Priority.LOW)
    await leader.run_on("w1", job_id)
    await store.pause(Priority.LOW)
    reports = ReportStore(leader.database, routing)
    assert await claim(reports, job_id) == [(Answer.ACCEPTED, None)]  # the first answer was lost
    assert await claim(reports, job_id, worker="w2") == [(Answer.REFUSED, "running_elsewhere")]
    report = Report(job_id=job_id, attempt=1, status=ReportStatus.COMPLETED, worker_id="w1")
    assert (await reports.apply([report])).answers[0].answer is Answer.ACCEPTED


async def test_workers_are_told_which_lanes_rest(leader: Leader, store: RoutingStore) -> None:
    registry = Registry(leader.workers, observer=Noted())
    beat = Heartbeat(worker_id="w1")
    await registry.flush()
    assert registry.hear(beat) is None
    for lane in (Priority.LOW, Priority.HIGH):
        await store.pause(lane)
    await registry.flush()
    answer = registry.hear(beat)
    assert answer is not None
    assert set(answer.paused) == {Priority.LOW, Priority.HIGH}
    await store.resume(Priority.LOW)
    await store.resume(Priority.HIGH)
    await registry.flush()
    assert registry.hear(beat) is None


async def test_the_gateway_sends_by_rule_and_not_to_a_paused_lane(leader: Leader, store: RoutingStore) -> None:
    await store.set_rule("resize", Priority.CRITICAL)
    await store.pause(Priority.HIGH)
    async with running_gateway(leader.url) as gateway:
        held: dict[str, Any] = await gateway.submit(priority="HIGH")
        sent = await gateway.submit(type="resize", priority="HIGH")
        refused = await gateway.report(held["id"], "running")
        assert (refused["answer"], refused["reason"]) == ("refused", "queue_paused")
        assert (await gateway.report(sent["id"], "running"))["answer"] == "accepted"
        read = (await gateway.client.get(f"/api/jobs/{held['id']}")).json()
        assert (read["status"], read["priority"]) == ("pending", "HIGH")
    assert await ready(leader) == {Priority.CRITICAL: 1}
