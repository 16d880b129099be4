"""The broker on Postgres: one table, `FOR UPDATE SKIP LOCKED`, notifications and leases."""

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from distriqueue.broker import postgres_sql as sql
from distriqueue.broker.packs import pack
from distriqueue.broker.postgres_consumer import PostgresConsumer
from distriqueue.broker.postgres_session import CALL_S, NUMBER, Connection, faults, session
from distriqueue.broker.topology import LANES, RECONNECT_CAP_S
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch
from distriqueue.core.ports import LaneDepth
from distriqueue.core.retry import backoff_s
from distriqueue.lifecycle import wait_for
from distriqueue.telemetry import get_logger

log = get_logger("broker")
_rng = random.SystemRandom()

WAITING_BOUND: Final = 20_000
"""Most messages that wait for their insert; calls beyond it are refused at once."""
INSERT_MESSAGES: Final = 1000
INSERT_BYTES: Final = 4 * 1024 * 1024
"""Bounds of one insert."""
PROBE_S: Final = 5.0
"""How often an idle connection is asked whether it is alive."""


@dataclass(slots=True)
class _Waiting:
    """A message on its way."""

    lane: int
    body: bytes
    places: list[int]
    """Which of their call's dispatches it says."""
    held: asyncio.Future[bool]


def make(url: str, *, publish_timeout_s: float, dispatch_pack: int, group: asyncio.TaskGroup) -> "PostgresBroker":
    """Return the broker of the URL, not yet connected: `run` does that. Consumers run in the group."""
    return PostgresBroker(url, publish_timeout_s=publish_timeout_s, dispatch_pack=dispatch_pack, group=group)


class PostgresBroker:
    """`core.ports.Broker`. `run` keeps the connection that publishes; each consumer keeps one of its own."""

    def __init__(self, url: str, *, publish_timeout_s: float, dispatch_pack: int, group: asyncio.TaskGroup) -> None:
        self._url = url
        self._publish_timeout_s = publish_timeout_s
        self._dispatch_pack = dispatch_pack
        self._group = group
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._consumers: list[PostgresConsumer] = []
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the connection is up at this moment."""
        return self._connection is not None and not self._connection.is_closed()

    async def publish(self, dispatches: Sequence[Dispatch]) -> list[bool]:
        """Send all; who publishes while an insert is under way shares the next one."""
        if not self.connected or (self._waiting and len(self._waiting) + len(dispatches) > WAITING_BOUND):
            return [False] * len(dispatches)
        loop = asyncio.get_running_loop()
        mine = [
            _Waiting(NUMBER[each.lane], each.body, each.places, loop.create_future())
            for each in pack(dispatches, most=self._dispatch_pack)
        ]
        held = [False] * len(dispatches)
        if not mine:
            return held
        self._waiting.extend(mine)
        self._wake.set()
        await asyncio.wait([one.held for one in mine], timeout=self._publish_timeout_s)
        for one in mine:
            if one.held.done() and one.held.result():
                for place in one.places:
                    held[place] = True
        return held

    async def consume(self, lanes: Sequence[Priority], *, prefetch: int, consumer_id: str) -> PostgresConsumer:
        """Subscribe to the lanes; when Postgres is down, as soon as it is back."""
        consumer = PostgresConsumer(self, self._url, lanes, prefetch=prefetch, consumer_id=consumer_id)
        self._consumers.append(consumer)
        self._group.create_task(consumer.run(), name=f"broker-consumer-{consumer_id}")
        if self.connected:
            await wait_for(consumer.attached, CALL_S)
        return consumer

    def forget(self, consumer: PostgresConsumer) -> None:
        """This one is closed."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    async def depths(self) -> Mapping[Priority, LaneDepth]:
        """Return each lane's depth in dispatches; `ready` stops counting at 100,000 messages."""
        async with self._turn:
            with faults():
                rows = await self._up().fetch(sql.DEPTHS, [NUMBER[lane] for lane in LANES])
        return {
            LANES[row["lane"]]: LaneDepth(ready=row["ready"], unacked=row["unacked"], consumers=row["consumers"])
            for row in rows
        }

    async def purge(self) -> None:
        """Drop every dispatch that waits in a lane."""
        async with self._turn:
            with faults():
                await self._up().execute(sql.PURGE)

    async def close(self) -> None:
        """Close the consumers and the connection."""
        for consumer in tuple(self._consumers):
            await consumer.close()
        self._stop.set()
        self._wake.set()
        await wait_for(self._ended, CALL_S)

    async def run(self) -> None:
        """Keep a session until closed."""
        failures = 0
        try:
            while not self._stop.is_set():
                was_up = False
                try:
                    async with session(self._url, name="publisher", lost=self._wake) as connection:
                        self._connection = connection
                        was_up = True
                        log.info("broker_connected")
                        await self._serve(connection)
                except BrokerUnavailable as exc:
                    failures = 1 if was_up else failures + 1
                    pause_s = backoff_s(failures, _rng, cap_s=RECONNECT_CAP_S)
                    log.warning("broker_unavailable", error=str(exc), failures=failures, retry_in_s=round(pause_s, 3))
                    self._give_up()
                    await wait_for(self._stop, pause_s)
        finally:
            self._give_up()
            self._ended.set()

    async def _serve(self, connection: Connection) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            if connection.is_closed():
                raise BrokerUnavailable("the connection is closed")
            async with self._turn:
                if self._waiting:
                    await self._insert(connection)
                    continue
            if not await wait_for(self._wake, PROBE_S):
                async with self._turn:
                    await connection.execute("SELECT 1")

    async def _insert(self, connection: Connection) -> None:
        """Insert the oldest that wait, as many as fit one statement."""
        batch: list[_Waiting] = []
        size_bytes = 0
        while self._waiting and len(batch) < INSERT_MESSAGES and size_bytes < INSERT_BYTES:
            batch.append(self._waiting.popleft())
            size_bytes += len(batch[-1].body)
        lanes = [one.lane for one in batch]
        held = False
        try:
            await connection.execute(
                sql.PUBLISH,
                lanes,
                [one.body for one in batch],
                [len(one.places) for one in batch],
                ",".join(map(str, sorted(set(lanes)))),
                timeout=self._publish_timeout_s,
            )
            held = True
        finally:
            for one in batch:
                if not one.held.done():
                    one.held.set_result(held)

    def _give_up(self) -> None:
        """The connection is lost: what waits is not held."""
        self._connection = None
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.held.done():
                waiting.held.set_result(False)

    def _up(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            raise BrokerUnavailable("Postgres is not connected")
        return self._connection
