"""Messages from one node's transport to another's listener, and what neither lets through."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from orchestrator.cluster.contacts import Contacts, Vitals
from orchestrator.cluster.listener import Busy, Listener
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.office import Office
from orchestrator.cluster.transport import Transport
from orchestrator.cluster.wire import ANSWERS, SIGNATURE
from orchestrator.raft import Message, MessageType

VOTERS = {"node1": "http://node1:1", "node2": "http://node2:2"}
SECRET = b"the cluster's secret"


@dataclass
class FakeCore:
    """Answers yes; holds back while the gate is closed."""

    heard: list[Message] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    busy: bool = False
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, message: Message) -> Message | None:
        self.heard.append(message)
        self.told.set()
        if self.busy:
            raise Busy
        await self.gate.wait()
        if message.type not in ANSWERS:
            return None
        return Message(ANSWERS[message.type], message.to, message.from_, 9, message.seq, ok=True)


@dataclass
class Pair:
    """Node 1 sends to node 2."""

    core: FakeCore
    listener: Listener
    transport: Transport
    contacts: tuple[Contacts, Contacts]
    requests: list[httpx.Request]
    answers: list[Message] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self, message: Message) -> None:
        self.answers.append(message)
        self.answered.set()


def message(seq: int = 1, type_: MessageType = MessageType.HEARTBEAT, term: int = 9) -> Message:
    return Message(type_, "node1", "node2", term, seq)


@contextlib.asynccontextmanager
async def pair(
    *,
    secret: bytes = SECRET,
    cluster: str = "c",
    forge: Callable[[httpx.Response], httpx.Response] | None = None,
) -> AsyncIterator[Pair]:
    core, requests = FakeCore(), []
    core.gate.set()
    contacts = Contacts(["node2"]), Contacts(["node1"])
    listener = Listener(
        Membership("c", "node2", VOTERS, SECRET),
        core,
        contacts[1],
        boot="boot2",
        office=Office(vitals=lambda: Vitals(reaches_store=True, epoch=9)),
        clock=lambda: 2.0,
        answer_timeout_s=5.0,
    )
    app: Any = listener
    inner = httpx.ASGITransport(app)

    class Network(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            requests.append(request)
            answer = await inner.handle_async_request(request)
            await answer.aread()
            return forge(answer) if forge else answer

    async with httpx.AsyncClient(transport=Network()) as client:
        membership = Membership(cluster, "node1", VOTERS, secret)
        office = Office(vitals=lambda: Vitals(epoch=8))
        transport = Transport(membership, contacts[0], client, boot="boot1", office=office, clock=lambda: 1.0)
        made = Pair(core, listener, transport, contacts, requests)
        stop = asyncio.Event()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(transport.run(made.deliver, stop))
            try:
                yield made
            finally:
                stop.set()


async def test_a_message_is_answered_and_both_know_of_each_other() -> None:
    async with pair() as nodes:
        nodes.transport.send(message())
        await nodes.answered.wait()
    assert nodes.answers == [Message(MessageType.HEARTBEAT_RESP, "node2", "node1", 9, 1, ok=True, boot="boot2")]
    assert [(each.from_, each.seq, each.boot) for each in nodes.core.heard] == [("node1", 1, "boot1")]
    assert nodes.contacts[0].vitals("node2", since=0) == Vitals(reaches_store=True, epoch=9)
    assert nodes.contacts[1].vitals("node1", since=0) == Vitals(reaches_store=False, epoch=8)
    # The first request only told the session, which the second has.
    assert (len(nodes.requests), nodes.listener.refused) == (2, {"session": 1})


async def test_a_recorded_request_is_not_stepped_again() -> None:
    async with pair() as nodes:
        nodes.transport.send(message())
        await nodes.answered.wait()
        app: Any = nodes.listener
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node2:2") as replayer:
            recorded = nodes.requests[-1]
            again = await replayer.post(recorded.url, content=recorded.content, headers=dict(recorded.headers))
    assert (again.status_code, again.json()) == (409, {"error": "replayed"})
    assert len(nodes.core.heard) == 1


async def test_strangers_get_nowhere() -> None:
    for wrong, reason in (({"secret": b"another"}, "secret"), ({"cluster": "d"}, "cluster")):
        async with pair(**wrong) as nodes:
            nodes.transport.send(message())
            while not nodes.listener.refused:  # noqa: ASYNC110 -- nothing of ours is set by a refusal
                await asyncio.sleep(0.001)
        assert nodes.listener.refused == {reason: 1}
        assert (nodes.core.heard, nodes.answers) == ([], [])
        assert nodes.contacts[1].last == {"node1": None}


async def test_a_forged_answer_is_lost() -> None:
    forged = asyncio.Event()

    def forge(answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 200:
            forged.set()
            body = answer.content.replace(b'"ok":true', b'"ok":false')
            return httpx.Response(200, content=body, headers={SIGNATURE: answer.headers[SIGNATURE]})
        return answer

    async with pair(forge=forge) as nodes:
        nodes.transport.send(message())
        await forged.wait()
    assert nodes.answers == []


async def test_an_answer_to_another_request_is_lost() -> None:
    first: list[httpx.Response] = []

    def forge(answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 200:
            first.append(answer)
            return httpx.Response(200, content=first[0].content, headers={SIGNATURE: first[0].headers[SIGNATURE]})
        return answer

    async with pair(forge=forge) as nodes:
        nodes.transport.send(message(1))
        await nodes.answered.wait()
        nodes.transport.send(message(2))
        while len(first) < 2:  # noqa: ASYNC110 -- nothing of ours is set by it
            await asyncio.sleep(0.001)
    assert [each.seq for each in nodes.answers] == [1]


async def test_what_waits_is_replaced_by_what_is_newer_and_a_vote_passes_a_heartbeat() -> None:
    async with pair() as nodes:
        nodes.core.gate.clear()
        for seq in range(1, 6):
            nodes.transport.send(message(seq))
        await nodes.core.told.wait()
        assert [each.seq for each in nodes.core.heard] == [5]
        nodes.core.told.clear()
        nodes.transport.send(message(6))
        nodes.transport.send(message(7))
        nodes.transport.send(message(8, MessageType.VOTE))
        await nodes.core.told.wait()
        assert [(each.type, each.seq) for each in nodes.core.heard[1:]] == [("vote", 8)]
        nodes.core.gate.set()
        while len(nodes.answers) < 3:
            nodes.answered.clear()
            await nodes.answered.wait()
    assert sorted(each.seq for each in nodes.answers) == [5, 7, 8]


async def test_a_transfer_has_no_answer_and_a_busy_node_is_none() -> None:
    async with pair() as nodes:
        nodes.transport.send(message(1, MessageType.TIMEOUT_NOW))
        await nodes.core.told.wait()
        nodes.core.told.clear()
        nodes.core.busy = True
        nodes.transport.send(message(2))
        await nodes.core.told.wait()
    assert nodes.answers == []
    assert nodes.listener.refused["busy"] == 1
