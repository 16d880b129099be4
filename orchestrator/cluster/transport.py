"""Messages out: one POST each, with at most one heartbeat and one other message in flight per peer.

What waits for a peer that is slow is replaced by what is newer, so nothing piles up, and a peer that does not answer
costs the others nothing. A message that is lost is lost: the core repeats what matters.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx

from distriqueue.lifecycle import first_of
from orchestrator.cluster.contacts import Contacts
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.office import Office
from orchestrator.cluster.wire import ANSWERS, PATH, SIGNATURE, Malformed, Reply, Request, Seal, is_same, reply_of
from orchestrator.raft import Message, MessageType

IDLE_S: Final = 30.0
Deliver = Callable[[Message], None]


class _Lane:
    """What waits to be sent to one peer: the newest message of each type."""

    def __init__(self) -> None:
        self._waiting: dict[MessageType, Message] = {}
        self.filled = asyncio.Event()

    def put(self, message: Message) -> None:
        self._waiting[message.type] = message
        self.filled.set()

    def take(self) -> Message | None:
        if not self._waiting:
            self.filled.clear()
            return None
        return self._waiting.pop(next(iter(self._waiting)))


class Transport:
    """The connections to the peers, apart from everybody else's."""

    def __init__(
        self,
        membership: Membership,
        contacts: Contacts,
        client: httpx.AsyncClient,
        *,
        boot: str,
        office: Office,
        clock: Callable[[], float],
    ) -> None:
        self._membership = membership
        self._contacts = contacts
        self._client = client
        self._boot = boot
        self._office = office
        self._clock = clock
        self._seal = Seal(membership.secret)
        self._numbers = itertools.count()
        self._sessions = dict.fromkeys(membership.peers, "")
        self._heartbeats = {peer: _Lane() for peer in membership.peers}
        self._others = {peer: _Lane() for peer in membership.peers}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        membership: Membership,
        contacts: Contacts,
        *,
        boot: str,
        office: Office,
        clock: Callable[[], float],
        timeout_s: float,
    ) -> AsyncIterator["Transport"]:
        """Open the pool; `timeout_s` is what one exchange may take, less than half an election timeout."""
        limits = httpx.Limits(max_keepalive_connections=2 * max(len(membership.peers), 1), keepalive_expiry=IDLE_S)
        async with httpx.AsyncClient(timeout=timeout_s, limits=limits, trust_env=False) as client:
            yield cls(membership, contacts, client, boot=boot, office=office, clock=clock)

    def send(self, message: Message) -> None:
        """Send it soon, in place of an older one of its type that still waits."""
        lanes = self._heartbeats if message.type is MessageType.HEARTBEAT else self._others
        if message.to in lanes:
            lanes[message.to].put(message)

    async def run(self, deliver: Deliver, stop: asyncio.Event) -> None:
        """Send until stopped, and deliver every answer."""
        async with asyncio.TaskGroup() as group:
            for lane in (*self._heartbeats.values(), *self._others.values()):
                group.create_task(self._work(lane, deliver, stop))

    async def _work(self, lane: _Lane, deliver: Deliver, stop: asyncio.Event) -> None:
        while not stop.is_set():
            message = lane.take()
            if message is None:
                await first_of(stop, lane.filled, timeout_s=60.0)
                continue
            # Lost, and no word of it: that a peer is away is to be seen from its last contact.
            with contextlib.suppress(httpx.HTTPError, Malformed):
                answer = await self._exchange(message)
                if answer is not None:
                    deliver(answer)

    async def _exchange(self, message: Message) -> Message | None:
        reply = await self._post(message)
        if reply is None:
            reply = await self._post(message)  # the peer has told us its session
        if reply is None or reply.answer is None or message.type not in ANSWERS:
            return None
        return Message(
            ANSWERS[message.type],
            message.to,
            message.from_,
            reply.answer.term,
            message.seq,
            ok=reply.answer.ok,
            boot=reply.boot,
        )

    async def _post(self, message: Message) -> Reply | None:
        """Post it; None when the peer wants another session, which is then known. httpx.HTTPError, Malformed."""
        peer, vitals = message.to, self._office.vitals()
        request = Request(
            cluster=self._membership.cluster,
            sender=message.from_,
            receiver=peer,
            boot=self._boot,
            session=self._sessions[peer],
            number=next(self._numbers),
            reaches_store=vitals.reaches_store,
            epoch=vitals.epoch,
            type=message.type,
            term=message.term,
            seq=message.seq,
            force=message.force,
        )
        body = request.model_dump_json().encode()
        signature = self._seal.of_request(body)
        answer = await self._client.post(
            self._membership.peers[peer] + PATH,
            content=body,
            headers={SIGNATURE: signature, "content-type": "application/json"},
        )
        expected = self._seal.of_reply(answer.content, to=signature)
        if answer.status_code not in (200, 409) or not is_same(answer.headers.get(SIGNATURE, ""), expected):
            raise httpx.HTTPStatusError(f"{peer} refused", request=answer.request, response=answer)
        reply = reply_of(answer.content)
        self._sessions[peer] = reply.session
        self._contacts.heard(peer, reply.vitals, self._clock())
        return reply if answer.status_code == 200 else None
