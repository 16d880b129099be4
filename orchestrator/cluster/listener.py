"""Messages in: `POST /raft/v1/step`, each checked before it may touch the core.

| answer | means | counted as |
|---|---|---|
| 200 | stepped; the reply carries the answer, where one is due | |
| 400, 413 | no such message; too large | `malformed`, `too_large` |
| 401 | not by the cluster's secret, or of another cluster | `secret`, `cluster` |
| 403 | not from a peer, or not for this node | `stranger` |
| 409 | for an earlier process: the reply carries the session to use now; or seen before | `session`, `replayed` |
| 503 | too much to do, or the term could not be stored | `busy` |
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

import orjson
from starlette.types import Receive, Scope, Send

from orchestrator.cluster.contacts import Contacts
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.office import Office
from orchestrator.cluster.replay import ReplayGuard, Verdict
from orchestrator.cluster.wire import (
    MAX_BODY_BYTES,
    PATH,
    SIGNATURE,
    Answer,
    Malformed,
    Refusal,
    Reply,
    Request,
    Seal,
    is_same,
    request_of,
)
from orchestrator.raft import Message

_STATUS: Final[dict[Refusal, int]] = {
    "malformed": 400,
    "too_large": 413,
    "secret": 401,
    "cluster": 401,
    "stranger": 403,
    "session": 409,
    "replayed": 409,
    "busy": 503,
}


class Busy(Exception):
    """The core cannot take the message now; the sender will repeat it."""


class Core(Protocol):
    """What takes messages."""

    async def ask(self, message: Message) -> Message | None:
        """Step the message, and return its answer once it may leave; None when none is due. Busy."""


class Refused(Exception):
    """A request that is not acted on."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


class Listener:
    """The ASGI app of the election's port."""

    def __init__(
        self,
        membership: Membership,
        core: Core,
        contacts: Contacts,
        *,
        boot: str,
        office: Office,
        clock: Callable[[], float],
        answer_timeout_s: float,
    ) -> None:
        self._membership = membership
        self._core = core
        self._contacts = contacts
        self._boot = boot
        self._office = office
        self._clock = clock
        self._answer_timeout_s = answer_timeout_s
        self._seal = Seal(membership.secret)
        self._guard = ReplayGuard()
        self.refused: Counter[Refusal] = Counter()
        """How many requests were refused, by reason."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if (scope["method"], scope["path"]) != ("POST", PATH):
            await _send(send, 404, orjson.dumps({"error": "not_found"}))
            return
        signature = dict(scope["headers"]).get(SIGNATURE.encode(), b"").decode("latin-1")
        try:
            reply = await self._step(await _body(receive), signature)
        except Refused as refused:
            self.refused[refused.reason] += 1
            if refused.reason == "session":
                await self._reply(send, 409, self._say(None), signature)
            else:
                await _send(send, _STATUS[refused.reason], orjson.dumps({"error": refused.reason}))
        else:
            await self._reply(send, 200, reply, signature)

    async def _step(self, body: bytes, signature: str) -> Reply:
        request = self._checked(body, signature)
        self._contacts.heard(request.sender, request.vitals, self._clock())
        message = request.message()
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                answer = await self._core.ask(message)
        except (Busy, TimeoutError) as exc:
            raise Refused("busy") from exc
        return self._say(answer)

    def _checked(self, body: bytes, signature: str) -> Request:
        if not signature:
            raise Refused("malformed")
        if not is_same(signature, self._seal.of_request(body)):
            raise Refused("secret")
        try:
            request = request_of(body)
        except Malformed as exc:
            raise Refused("malformed") from exc
        if request.cluster != self._membership.cluster:
            raise Refused("cluster")
        if request.receiver != self._membership.node or request.sender not in self._membership.peers:
            raise Refused("stranger")
        verdict = self._guard.judge(
            sender=request.sender, boot=request.boot, session=request.session, number=request.number
        )
        if verdict is not Verdict.FRESH:
            raise Refused("session" if verdict is Verdict.OTHER_SESSION else "replayed")
        return request

    def _say(self, answer: Message | None) -> Reply:
        vitals = self._office.vitals()
        return Reply(
            boot=self._boot,
            session=self._guard.session,
            reaches_store=vitals.reaches_store,
            epoch=vitals.epoch,
            answer=Answer(term=answer.term, ok=bool(answer.ok)) if answer else None,
        )

    async def _reply(self, send: Send, status: int, reply: Reply, signature: str) -> None:
        body = reply.model_dump_json().encode()
        await _send(send, status, body, signature=self._seal.of_reply(body, to=signature))


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise Refused("too_large")
        if not message.get("more_body"):
            return body


async def _send(send: Send, status: int, body: bytes, *, signature: str | None = None) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if signature is not None:
        headers.append((SIGNATURE.encode(), signature.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
