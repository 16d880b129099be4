"""A broker in memory, and a gateway and an orchestrator that are real HTTP servers with a bad day on demand."""

import asyncio
import contextlib
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from distriqueue.core.job import JobId, Priority, new_job_id
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import Consumer, Delivery, LaneDepth
from distriqueue.lifecycle import listen, wait_for
from workers.runtime.recent import AttemptKey

ENDS = frozenset({"completed", "failed", "timeout", "cancelled", "released"})


def dispatch_of(
    type_: str = "noop",
    payload: dict[str, Any] | None = None,
    *,
    lane: Priority = Priority.MEDIUM,
    attempt: int = 1,
    timeout_s: float = 30.0,
    job_id: JobId | None = None,
) -> Dispatch:
    """Return a dispatch."""
    return Dispatch(job_id or new_job_id(), attempt, type_, lane, payload or {}, timeout_s)


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until the condition holds: for what no signal tells."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class FakeBroker:
    """Lanes in memory; one prefetch per lane and consumer, as the ports promise."""

    def __init__(self) -> None:
        self.lanes: dict[Priority, deque[Dispatch]] = {lane: deque() for lane in Priority}
        self.consumers: list[FakeConsumer] = []
        self.acked: Counter[AttemptKey] = Counter()
        self.released: Counter[AttemptKey] = Counter()

    async def publish(self, dispatches: Sequence[Dispatch]) -> list[bool]:
        """Put all into their lanes."""
        for dispatch in dispatches:
            self.lanes[dispatch.priority].append(dispatch)
        self.feed()
        return [True] * len(dispatches)

    async def consume(self, lanes: Sequence[Priority], *, prefetch: int, consumer_id: str) -> Consumer:
        """Subscribe."""
        assert consumer_id
        self.consumers.append(FakeConsumer(self, lanes, prefetch))
        self.feed()
        return self.consumers[-1]

    async def depths(self) -> Mapping[Priority, LaneDepth]:
        """Return what waits."""
        return {lane: LaneDepth(len(waiting), 0, len(self.consumers)) for lane, waiting in self.lanes.items()}

    async def purge(self) -> None:
        """Drop all."""
        for waiting in self.lanes.values():
            waiting.clear()

    @property
    def connected(self) -> bool:
        """Always."""
        return True

    async def close(self) -> None:
        """Nothing to close."""

    def feed(self) -> None:
        """Deliver what the prefetch allows."""
        for consumer in self.consumers:
            consumer.fill()


class FakeConsumer:
    """One worker's subscription."""

    def __init__(self, broker: FakeBroker, lanes: Sequence[Priority], prefetch: int) -> None:
        self._broker = broker
        self._at_hand: dict[Priority, deque[Delivery]] = {lane: deque() for lane in lanes}
        self._prefetch = prefetch
        self._unacked: dict[int, Delivery] = {}
        self._counts: Counter[Priority] = Counter()
        self._arrived = asyncio.Event()
        self._tags = 0
        self.paused = False
        self.pauses = 0
        self.resumed = asyncio.Event()
        self.closed = False

    def waiting(self, lane: Priority) -> int:
        """Return how many are at hand."""
        waiting = self._at_hand.get(lane)
        return len(waiting) if waiting else 0

    def take(self, lane: Priority) -> Delivery | None:
        """Take the oldest."""
        waiting = self._at_hand.get(lane)
        return waiting.popleft() if waiting else None

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a delivery."""
        if not any(self._at_hand.values()):
            self._arrived.clear()
            await wait_for(self._arrived, timeout_s)
        return any(self._at_hand.values())

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Forget these."""
        for delivery in deliveries:
            if self._unacked.pop(delivery.tag, None) is not None:
                self._counts[delivery.lane] -= 1
                self._broker.acked[delivery.dispatch.job_id, delivery.dispatch.attempt] += 1
        self.fill()

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give these back."""
        for delivery in deliveries:
            if self._unacked.pop(delivery.tag, None) is not None:
                self._counts[delivery.lane] -= 1
                self._broker.released[delivery.dispatch.job_id, delivery.dispatch.attempt] += 1
                self._broker.lanes[delivery.lane].append(delivery.dispatch)
        self._broker.feed()

    async def pause(self) -> None:
        """Give back what is at hand."""
        self.paused = True
        self.pauses += 1
        self.resumed.clear()
        at_hand = [delivery for waiting in self._at_hand.values() for delivery in waiting]
        for waiting in self._at_hand.values():
            waiting.clear()
        await self.release(at_hand)

    async def resume(self) -> None:
        """Take again."""
        self.paused = False
        self.resumed.set()
        self.fill()

    async def close(self) -> None:
        """Give back everything."""
        await self.pause()
        await self.release(list(self._unacked.values()))
        self.closed = True

    def redeliver(self, dispatch: Dispatch) -> None:
        """Deliver once more, as after a reconnect."""
        self._put(dispatch)

    def fill(self) -> None:
        """Take from the lanes up to the prefetch."""
        if self.paused:
            return
        for lane in self._at_hand:
            source = self._broker.lanes[lane]
            while source and self._counts[lane] < self._prefetch:
                self._put(source.popleft())

    def _put(self, dispatch: Dispatch) -> None:
        self._tags += 1
        delivery = Delivery(dispatch, dispatch.priority, self._tags, 1)
        self._unacked[delivery.tag] = delivery
        self._counts[delivery.lane] += 1
        self._at_hand[delivery.lane].append(delivery)
        self._arrived.set()


class FakeGateway:
    """Answers reports as the real one does, remembers them, and fails as it is told to.

    `plan` holds what becomes of the next requests: `None` (answer), a status, or one of `reset` (close the connection
    unanswered), `lost` (apply, then close it unanswered).
    """

    def __init__(self) -> None:
        self.plan: deque[int | str | None] = deque()
        self.always: int | str | None = None
        self.retry_after: str | None = None
        self.delay_s = 0.0
        self.gate = asyncio.Event()
        """Requests wait for it."""
        self.gate.set()
        self.requests: list[list[dict[str, Any]]] = []
        self.keys: set[bytes | None] = set()
        """What the requests said as `Authorization`."""
        self.parents: dict[str, list[dict[str, Any]]] = {}
        """By job id: what its accepted claim is told."""
        self.checkpoints: dict[str, Any] = {}
        """By job id: what its accepted claim is told, too."""
        self.applied: list[dict[str, Any]] = []
        """What was accepted, first times only."""
        self.refuse: dict[str, str] = {}
        self.poison: dict[str, int] = {}
        """Job ids whose reports make a list answer with this status."""
        self.poisonous_result: int | None = None
        """What a list with the result `poison` is answered with."""
        self.stale: set[str] = set()
        self.seen: set[tuple[str, int, str, float | None]] = set()
        self.repeated = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve `POST /api/jobs/status`."""
        assert (scope["method"], scope["path"]) == ("POST", "/api/jobs/status")
        self.keys.add(dict(scope["headers"]).get(b"authorization"))
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._answer(orjson.loads(body), send)
        finally:
            self.in_flight -= 1
            self.changed.set()

    async def _answer(self, reports: list[dict[str, Any]], send: Send) -> None:
        self.requests.append(reports)
        self.changed.set()
        await self.gate.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        fate = self.plan.popleft() if self.plan else self.always
        fate = fate or next((self.poison[r["jobId"]] for r in reports if r["jobId"] in self.poison), None)
        if self.poisonous_result and any(report.get("result") == "poison" for report in reports):
            fate = self.poisonous_result
        if isinstance(fate, int):
            headers = [(b"content-type", b"application/problem+json")]
            if self.retry_after is not None:
                headers.append((b"retry-after", self.retry_after.encode()))
            await send({"type": "http.response.start", "status": fate, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"code": "as_told"}'})
            return
        if fate == "reset":
            raise ConnectionError("as told")
        answers = [self._apply(report) for report in reports]
        if fate == "lost":
            raise ConnectionError("as told")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": orjson.dumps(answers)})

    def _apply(self, report: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"jobId": report["jobId"], "attempt": report["attempt"], "answer": "accepted"}
        if report["jobId"] in self.stale:
            return answer | {"answer": "stale"}
        if report["status"] == "running" and report["jobId"] in self.refuse:
            return answer | {"answer": "refused", "reason": self.refuse[report["jobId"]]}
        if report["status"] == "running" and report["jobId"] in self.parents:
            answer["parents"] = self.parents[report["jobId"]]
        if report["status"] == "running" and report["jobId"] in self.checkpoints:
            answer["checkpoint"] = self.checkpoints[report["jobId"]]
        what = (report["jobId"], report["attempt"], report["status"], report.get("progress"))
        if what in self.seen:
            self.repeated += 1
        else:
            self.seen.add(what)
            self.applied.append(report)
        return answer

    def of(self, dispatch: Dispatch) -> list[dict[str, Any]]:
        """Return what was accepted of one attempt, in order."""
        job_id = str(dispatch.job_id)
        return [r for r in self.applied if r["jobId"] == job_id and r["attempt"] == dispatch.attempt]

    def statuses(self, dispatch: Dispatch) -> list[str]:
        """Return the statuses that were accepted of one attempt, in order."""
        return [str(report["status"]) for report in self.of(dispatch)]

    def ends(self) -> Iterator[dict[str, Any]]:
        """Return the ends that were accepted."""
        return (report for report in self.applied if report["status"] in ENDS)

    async def end_of(self, dispatch: Dispatch, timeout_s: float = 8.0) -> dict[str, Any]:
        """Wait for the attempt's end."""
        async with asyncio.timeout(timeout_s):
            while True:
                self.changed.clear()
                if reports := [report for report in self.of(dispatch) if report["status"] in ENDS]:
                    return reports[0]
                await self.changed.wait()


class FakeOrchestrator:
    """Answers heartbeats with `answer`."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {"status": "acknowledged"}
        self.status = 200
        self.beats: list[dict[str, Any]] = []
        self.keys: set[bytes | None] = set()
        self.beat = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve `POST /api/workers/heartbeat`."""
        assert (scope["method"], scope["path"]) == ("POST", "/api/workers/heartbeat")
        self.keys.add(dict(scope["headers"]).get(b"authorization"))
        message = await receive()
        self.beats.append(orjson.loads(message.get("body", b"")))
        self.beat.set()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": orjson.dumps(self.answer)})


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI app on a free port by uvicorn's protocol, without its server's ticks of 0.1 s; yield its URL."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, http="httptools")
    config.load()
    state = ServerState()
    protocol: Any = config.http_protocol_class
    bound = listen("127.0.0.1", 0, setting="nothing")
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), sock=bound
    )
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        gate = getattr(app, "gate", None)
        if isinstance(gate, asyncio.Event):
            gate.set()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=2)


def refused_url() -> str:
    """Return the URL of a port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
