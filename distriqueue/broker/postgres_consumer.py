"""Consuming from Postgres: takes, acks and the lease, on one connection per consumer."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Protocol

from distriqueue.broker import postgres_sql as sql
from distriqueue.broker.buffer import LaneBuffers
from distriqueue.broker.held import Held
from distriqueue.broker.packs import unpack
from distriqueue.broker.postgres_session import CALL_S, NUMBER, Connection, session
from distriqueue.broker.topology import LANES, RECONNECT_CAP_S
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import DISPATCH_PACK, UnreadableDispatch
from distriqueue.core.ports import Delivery
from distriqueue.core.retry import backoff_s
from distriqueue.lifecycle import wait_for
from distriqueue.telemetry import get_logger

log = get_logger("broker")
_rng = random.SystemRandom()

POLL_S: Final = 1.0
"""How often a lane is looked at without a notification."""
RENEW_S: Final = 2.0
LEASE_S: Final = 6.0
"""How long a consumer that says nothing keeps what it holds. Too short does no harm: the claim decides who runs."""


class _Owner(Protocol):
    def forget(self, consumer: "PostgresConsumer") -> None: ...


class PostgresConsumer:
    """`core.ports.Consumer`. Its calls only note what is to be done; `run` does it, in as few statements as it can."""

    def __init__(self, owner: _Owner, url: str, lanes: Sequence[Priority], *, prefetch: int, consumer_id: str) -> None:
        self._owner = owner
        self._url = url
        self._lanes = tuple(lanes)
        self._prefetch = prefetch
        self._consumer_id = consumer_id
        self._buffers = LaneBuffers(lanes)
        self._number = 0
        """Our row in broker.consumers; the last one when not connected."""
        self._held = {lane: Held() for lane in lanes}
        self._per_message = dict.fromkeys(lanes, DISPATCH_PACK)
        """How many dispatches a message of the lane had last, rounded up."""
        self._acked: list[int] = []
        self._released: list[int] = []
        self._promising: set[Priority] = set()
        """Lanes that may have something for us."""
        self._paused = False
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self.attached = asyncio.Event()

    def waiting(self, lane: Priority) -> int:
        """Return how many deliveries of the lane are at hand."""
        return self._buffers.waiting(lane)

    def take(self, lane: Priority) -> Delivery | None:
        """Take the lane's oldest delivery at hand, without waiting."""
        delivery = self._buffers.take(lane)
        if delivery is not None and self._buffers.waiting(lane) <= self._prefetch // 2:
            self._wake.set()
        return delivery

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a delivery is at hand in any lane; False after `timeout_s` seconds without one."""
        return await self._buffers.wait(timeout_s)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """The claims are decided: forget these. Idempotent; never raises for a lost connection."""
        self._decide(deliveries, release=False)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give these back, to be delivered to anyone. Never raises for a lost connection."""
        self._decide(deliveries, release=True)

    async def pause(self) -> None:
        """Take no more and give back what is at hand, so that others can run it."""
        self._paused = True
        await self.release(self._buffers.drain())

    async def resume(self) -> None:
        """Take again."""
        self._paused = False
        self._promising.update(self._lanes)
        self._wake.set()

    async def close(self) -> None:
        """Stop; what is unacknowledged goes back to its lane."""
        if self._stop.is_set():
            return
        self._owner.forget(self)
        self._stop.set()
        self._wake.set()
        await wait_for(self._ended, CALL_S)

    async def run(self) -> None:
        """Keep a session until closed."""
        failures = 0
        try:
            while not self._stop.is_set():
                try:
                    await self._one_session()
                except BrokerUnavailable as exc:
                    failures = 1 if self.attached.is_set() else failures + 1
                    pause_s = backoff_s(failures, _rng, cap_s=RECONNECT_CAP_S)
                    log.warning(
                        "broker_consumer_unavailable", error=str(exc), failures=failures, retry_in_s=round(pause_s, 3)
                    )
                    self._detach()
                    await wait_for(self._stop, pause_s)
        finally:
            self._detach()
            self._ended.set()

    async def _one_session(self) -> None:
        lost = asyncio.Event()
        async with session(self._url, name=self._consumer_id, lost=lost) as connection:
            await self._register(connection)
            await connection.add_listener(sql.CHANNEL, self._on_notification)
            self._promising.update(self._lanes)
            self.attached.set()
            renew_at_s = poll_at_s = time.monotonic()
            while not self._stop.is_set():
                now_s = time.monotonic()
                if now_s >= renew_at_s:
                    renew_at_s = now_s + RENEW_S
                    await self._renew(connection)
                if now_s >= poll_at_s:
                    poll_at_s = now_s + POLL_S
                    self._promising.update(self._lanes)
                self._wake.clear()
                if not await self._turn(connection):
                    await wait_for(self._wake, max(min(renew_at_s, poll_at_s) - time.monotonic(), 0.0))
                if connection.is_closed():
                    raise BrokerUnavailable("the connection is closed")
            await self._flush(connection)
            await self._end(connection, sql.END_ONE, self._number)

    async def _register(self, connection: Connection) -> None:
        """Take a new row, and give back what we held by the old one."""
        if self._number:
            await self._end(connection, sql.END_ONE, self._number)
        numbers = [NUMBER[lane] for lane in self._lanes]
        self._number = await connection.fetchval(sql.REGISTER, self._consumer_id, numbers, LEASE_S)

    async def _renew(self, connection: Connection) -> None:
        others_expired = await connection.fetchval(sql.RENEW, self._number, LEASE_S)
        if others_expired is None:
            raise BrokerUnavailable("our lease ran out")
        if others_expired:
            await self._end(connection, sql.END_EXPIRED)

    async def _end(self, connection: Connection, statement: str, *args: object) -> None:
        """End consumers, and tell the others what became free."""
        async with connection.transaction():
            ended = [row["id"] for row in await connection.fetch(statement, *args)]
            freed = await connection.fetch(sql.RELEASE_ALL, ended) if ended else []
            if freed:
                await connection.execute(sql.NOTIFY, _numbers({row["lane"] for row in freed}))
        if freed:
            log.info("broker_leases_ended", consumers=len(ended), dispatches=len(freed))

    async def _turn(self, connection: Connection) -> bool:
        """Do what there is to do, once; tell whether there was anything."""
        if self._released:
            await self._give_back(connection)
        wanted = {lane: room for lane in self._lanes if (room := self._room(lane)) > 0}
        if not wanted:
            return await self._flush(connection)
        acked, self._acked = self._acked, []
        self._promising.difference_update(wanted)
        rows = await connection.fetch(
            sql.SETTLE_AND_TAKE, self._number, acked, [NUMBER[lane] for lane in wanted], list(wanted.values())
        )
        await self._receive(connection, rows, wanted)
        return bool(rows or acked)

    def _room(self, lane: Priority) -> int:
        if self._paused or lane not in self._promising or self._buffers.waiting(lane) > self._prefetch // 2:
            return 0
        return -(-(self._prefetch - self._held[lane].jobs) // self._per_message[lane])

    async def _receive(self, connection: Connection, rows: list[Any], wanted: dict[Priority, int]) -> None:
        unreadable: dict[int, str] = {}
        messages: Counter[Priority] = Counter()
        jobs: Counter[Priority] = Counter()
        for row in sorted(rows, key=lambda row: row["id"]):
            lane = LANES[row["lane"]]
            wanted[lane] -= 1
            try:
                dispatches = unpack(row["body"])
            except UnreadableDispatch as exc:
                log.warning("dispatch_unreadable", lane=lane.value, size_bytes=len(row["body"]), error=str(exc))
                unreadable[row["id"]] = str(exc).replace("\0", "")
                continue
            messages[lane] += 1
            jobs[lane] += len(dispatches)
            self._held[lane].add(row["id"], len(dispatches))
            for part, dispatch in enumerate(dispatches):
                self._buffers.put(Delivery(dispatch, lane, row["id"], self._number, part))
        # A lane that gave all we asked for may have more.
        self._promising.update(lane for lane, missing in wanted.items() if missing == 0)
        for lane, count in messages.items():
            self._per_message[lane] = -(-jobs[lane] // count)
            if self._held[lane].jobs > 2 * self._prefetch:
                await self.release(self._buffers.surplus(lane, self._held[lane].jobs - self._prefetch))
        if self._paused:
            await self.release(self._buffers.drain())
        if unreadable:
            await connection.execute(sql.BURY, self._number, list(unreadable), list(unreadable.values()))
            await connection.execute(sql.TRIM_DEAD)

    async def _flush(self, connection: Connection) -> bool:
        acked, self._acked = self._acked, []
        if acked:
            await connection.execute(sql.ACK, self._number, acked)
        return bool(acked)

    async def _give_back(self, connection: Connection) -> None:
        released, self._released = self._released, []
        await connection.execute(sql.RELEASE, self._number, released)
        # All of our lanes: which of them they were of does not matter to who looks.
        await connection.execute(sql.NOTIFY, _numbers({NUMBER[lane] for lane in self._lanes}))

    def _decide(self, deliveries: Sequence[Delivery], *, release: bool) -> None:
        for lane, held in self._held.items():
            mine = [each for each in deliveries if each.lane is lane and each.session == self._number]
            acked, released = held.decide(mine, release=release)
            held.forget(acked + released)
            self._acked += acked
            self._released += released
        if self._acked or self._released:
            self._wake.set()

    def _on_notification(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        named = {LANES[int(number)] for number in str(payload).split(",")}
        self._promising.update(named.intersection(self._lanes))
        self._wake.set()

    def _detach(self) -> None:
        """Drop what came by an old session: it is delivered again."""
        self.attached.clear()
        self._buffers.drain()
        self._held = {lane: Held() for lane in self._lanes}
        self._acked.clear()
        self._released.clear()


def _numbers(lanes: set[int]) -> str:
    return ",".join(map(str, sorted(lanes)))
