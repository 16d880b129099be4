"""A table of keys in memory, and keyrings over it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from types import MappingProxyType

from distriqueue.access.keyring import Keyring
from distriqueue.core.access import Caller, Scope, Token
from distriqueue.core.errors import StoreUnavailable
from distriqueue.store.access import Entry, LiveKey, LiveKeys


@dataclass
class FakeKeys:
    """The table; `away` while Postgres does not answer, `gate` holds a reading back."""

    live: dict[str, LiveKey] = field(default_factory=dict)
    configured: bool = False
    away: bool = False
    gate: asyncio.Event | None = None
    readings: int = 0
    touched: list[str] = field(default_factory=list)

    def add(
        self,
        *scopes: Scope,
        requests_per_s: float | None = None,
        expires_in_s: float | None = None,
        internal: bool = False,
    ) -> Token:
        token = Token.new()
        caller = Caller(token.key_id, "somebody", frozenset(scopes))
        self.live[token.key_id] = LiveKey(caller, token.hash(), requests_per_s, expires_in_s)
        self.configured = self.configured or not internal
        return token

    async def load(self) -> LiveKeys:
        self.readings += 1
        seen = LiveKeys(self.configured, MappingProxyType(dict(self.live)))
        if self.gate is not None:
            await asyncio.wait_for(self.gate.wait(), 5)
        if self.away:
            raise StoreUnavailable("Postgres does not answer")
        return seen

    async def touch(self, key_ids: Collection[str]) -> None:
        self.touched += sorted(key_ids)


@dataclass
class FakeTrail:
    """Keeps entries."""

    entries: list[Entry] = field(default_factory=list)

    async def append(self, entry: Entry) -> None:
        self.entries.append(entry)


@dataclass
class Clock:
    """Stands still."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@contextlib.asynccontextmanager
async def refreshed(keyring: Keyring) -> AsyncIterator[None]:
    """Let the keyring read by itself while the block runs."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(keyring.run(stop))
        try:
            yield
        finally:
            stop.set()
