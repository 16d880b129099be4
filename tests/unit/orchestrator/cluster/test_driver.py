"""The loop around the core: what must be durable before it leaves, and what happens when it cannot be."""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from orchestrator.cluster.contacts import Contacts, Vitals
from orchestrator.cluster.driver import MAX_INBOX, Driver
from orchestrator.cluster.listener import Busy
from orchestrator.cluster.office import Office, Verdict
from orchestrator.cluster.storage import NoSpace, StorageFailed
from orchestrator.raft import Config, HardState, Message, MessageType, RaftCore, Role

CONFIG = Config(tick_s=0.005, heartbeat_s=0.01, election_timeout_min_s=1.0, election_timeout_max_s=2.0)
VOTERS = ("node1", "node2", "node3")


@dataclass
class FakeDisk:
    """Notes each write in the common log, or fails."""

    log: list[object]
    error: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def load(self) -> HardState:
        return HardState(3)

    def save(self, state: HardState) -> None:
        if self.error is not None:
            raise self.error
        self.entered.set()
        assert self.gate.wait(5)
        self.log.append(state)


@dataclass
class Lab:
    """Node 1, whose clock stands still unless it is moved."""

    log: list[object] = field(default_factory=list)
    now: float = 100.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.disk = FakeDisk(self.log)
        self.contacts = Contacts(VOTERS[1:])
        self.office = Office(changed=self.changed.set)
        self.driver = Driver(
            lambda state, now: RaftCore("node1", VOTERS, state, CONFIG, random.Random(1), now),
            self.disk,
            self.contacts,
            node="node1",
            config=CONFIG,
            clock=lambda: self.now,
            office=self.office,
        )

    def sent(self, type_: MessageType) -> list[Message]:
        return [each for each in self.log if isinstance(each, Message) and each.type is type_]

    async def until(self, role: Role) -> None:
        while self.driver.view.role is not role:
            self.changed.clear()
            await self.changed.wait()

    async def elect(self) -> None:
        """Let node 2 grant all that node 1 asks."""
        self.now += 2.5
        await self.until(Role.PRE_CANDIDATE)
        self.answer(self.sent(MessageType.PREVOTE)[-1])
        await self.until(Role.CANDIDATE)
        self.answer(self.sent(MessageType.VOTE)[-1])
        await self.until(Role.LEADER)

    def answer(self, asked: Message) -> None:
        type_ = MessageType(f"{asked.type}_resp")
        self.driver.deliver(Message(type_, "node2", "node1", asked.term, asked.seq, ok=True))


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Lab]:
    lab, stop = Lab(), asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(lab.driver.run(lab.log.append, stop))
        try:
            yield lab
        finally:
            stop.set()


def vote(seq: int, term: int = 4, from_: str = "node2") -> Message:
    return Message(MessageType.VOTE, from_, "node1", term, seq, force=True)


async def test_a_vote_is_durable_before_it_is_answered() -> None:
    async with running() as lab:
        answer = await lab.driver.ask(vote(1))
    assert answer is not None
    assert (answer.type, answer.to, answer.term, answer.ok) == ("vote_resp", "node2", 4, True)
    assert lab.log == [HardState(4, "node2")]


async def test_while_the_disk_is_slow_nothing_leaves() -> None:
    async with running() as lab:
        lab.disk.gate.clear()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(lab.driver.ask(vote(1)))
            await asyncio.to_thread(lab.disk.entered.wait, 5)
            await asyncio.sleep(0.02)
            assert not asking.done()
            assert lab.driver.view.vote is None
            lab.disk.gate.set()
        assert lab.driver.view.vote == "node2"


async def test_the_own_vote_is_durable_before_others_are_asked_for_theirs() -> None:
    async with running() as lab:
        await lab.elect()
    voted = lab.log.index(HardState(4, "node1"))
    assert all(lab.log.index(each) > voted for each in lab.sent(MessageType.VOTE))
    assert (lab.driver.counts.elections, lab.driver.counts.wins) == (1, 1)


async def test_without_room_there_is_no_vote_and_the_reason_is_told() -> None:
    async with running() as lab:
        lab.disk.error = NoSpace("cannot write (No space left on device)")
        with pytest.raises(Busy):
            await lab.driver.ask(vote(1))
        view = lab.driver.view
        assert (view.role, view.term, view.vote) == (Role.FOLLOWER, 3, None)
        assert view.storage_error == "cannot write (No space left on device)"
        lab.disk.error = None
        answer = await lab.driver.ask(vote(2, from_="node3"))
    assert answer is not None
    assert answer.ok
    assert lab.log == [HardState(4, "node3")]
    assert lab.driver.view.storage_error is None


async def test_a_disk_that_cannot_be_trusted_ends_the_loop() -> None:
    lab = Lab()
    lab.disk.error = StorageFailed("Input/output error")
    lab.driver.deliver(vote(1))
    with pytest.raises(StorageFailed):
        await asyncio.wait_for(lab.driver.run(lab.log.append, asyncio.Event()), 5)
    assert lab.log == []


async def test_after_a_stall_what_waits_is_read_before_the_timers_run() -> None:
    lab, stop = Lab(), asyncio.Event()

    async def heartbeat_in_the_socket() -> None:
        # It is read by the loop only after the driver was woken, as after SIGCONT.
        await asyncio.sleep(0)
        lab.driver.deliver(Message(MessageType.HEARTBEAT, "node2", "node1", 3, 1))

    lab.now += 60.0
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(lab.driver.run(lab.log.append, stop))
        group.create_task(heartbeat_in_the_socket())
        while lab.driver.view.leader != "node2":
            lab.changed.clear()
            await lab.changed.wait()
        stop.set()
    assert lab.sent(MessageType.PREVOTE) == []


async def test_a_full_inbox_turns_messages_away() -> None:
    lab = Lab()
    for seq in range(MAX_INBOX):
        lab.driver.deliver(vote(seq))
    with pytest.raises(Busy):
        await lab.driver.ask(vote(MAX_INBOX))


async def test_a_leader_that_is_judged_unfit_resigns() -> None:
    async with running() as lab:
        await lab.elect()
        lab.office.judge = lambda term, _in_office_s: Verdict.RESIGN if term == 4 else Verdict.STAY
        lab.now += 0.01
        await lab.until(Role.FOLLOWER)
    assert lab.driver.view.term == 4


async def test_a_leader_hands_over_only_to_a_peer_that_reaches_postgres() -> None:
    async with running() as lab:
        await lab.elect()
        lab.office.judge = lambda _term, _in_office_s: Verdict.HAND_OVER
        lab.now += 0.01
        await asyncio.sleep(0.05)
        assert lab.sent(MessageType.TIMEOUT_NOW) == []
        lab.contacts.heard("node3", Vitals(reaches_store=True), lab.now)
        lab.now += 0.01
        while not lab.sent(MessageType.TIMEOUT_NOW):  # noqa: ASYNC110 -- the driver has no signal for it
            await asyncio.sleep(0.001)
    assert {each.to for each in lab.sent(MessageType.TIMEOUT_NOW)} == {"node3"}


async def test_a_lease_that_begins_and_ends_is_told() -> None:
    async with running() as lab:
        await lab.elect()
        assert not lab.driver.view.leads(4, lab.now)
        lab.answer(lab.sent(MessageType.HEARTBEAT)[-1])
        lab.changed.clear()
        await lab.changed.wait()
        assert lab.driver.view.leads(4, lab.now)
        assert not lab.driver.view.leads(3, lab.now)
        lab.changed.clear()
        lab.now += 0.95
        assert not lab.driver.view.leads(4, lab.now)
        await lab.changed.wait()
