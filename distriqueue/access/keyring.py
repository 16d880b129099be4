"""The keys, as last read from Postgres."""

import asyncio
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

from distriqueue.core.access import ANONYMOUS, STRANGER, Caller, Token
from distriqueue.core.bucket import Bucket
from distriqueue.core.errors import Overloaded, RateLimited, StoreUnavailable, Unauthorized
from distriqueue.lifecycle import run_every
from distriqueue.store.access import LiveKey, LiveKeys
from distriqueue.telemetry import get_logger

log = get_logger("access")

REFRESH_S: Final = 1.0
LEAST_S: Final = 0.2
"""Between two readings, however many unknown keys come."""
WAIT_S: Final = 2.0
"""How long a request waits for a reading that may know its key."""
MAX_WAITING: Final = 1000
TOUCH_EVERY_S: Final = 10.0


class Keys(Protocol):
    """Where the keys are."""

    async def load(self) -> LiveKeys:
        """Return all that count now; StoreUnavailable."""

    async def touch(self, key_ids: Collection[str]) -> None:
        """Note that these were used; StoreUnavailable."""


class Proof(Protocol):
    """What a caller shows: a token, or a session made from one."""

    @property
    def key_id(self) -> str:
        """The key that it speaks of."""

    def fits(self, secret_hash: bytes) -> bool:
        """Tell whether it is of the key with this hash, in constant time."""


@dataclass(frozen=True, slots=True)
class _Held:
    caller: Caller
    secret_hash: bytes
    ends_at_s: float
    bucket: Bucket | None


class Keyring:
    """Answers who calls; `run` keeps it fresh."""

    def __init__(self, store: Keys, *, open_without_keys: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._open_without_keys = open_without_keys
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._configured: bool | None = None
        self._used: set[str] = set()
        self._touched_at_s = clock()
        self._wake = asyncio.Event()
        self._turn = asyncio.Event()
        self._asked_at_s = -math.inf
        self._started = self._ended = self._waiting = 0
        self._failure: StoreUnavailable | None = None

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in: no key was ever made, and only loopback is served."""
        return self._configured is False and self._open_without_keys

    async def run(self, stop: asyncio.Event) -> None:
        """Read the keys every second until `stop`."""
        await run_every(REFRESH_S, self.step, name="access", stop=stop, wake=self._wake)

    async def step(self) -> bool:
        """Read the keys once; without Postgres the last known ones stay."""
        if (gap_s := self._asked_at_s + LEAST_S - self._clock()) > 0:
            await asyncio.sleep(gap_s)
        self._asked_at_s = self._clock()
        self._started += 1
        try:
            self._hold(await self._store.load(), self._asked_at_s)
            await self._touch()
        except StoreUnavailable as exc:  # the next reading is a second away in any case: no need to back off
            if self._failure is None:
                log.warning("api_keys_not_read", known=len(self._held), error=str(exc))
            self._failure = exc
        else:
            self._failure = None
        finally:
            self._ended += 1
            turn, self._turn = self._turn, asyncio.Event()
            turn.set()
        return False

    def recognise(self, text: str | None) -> Caller:
        """Return who calls, as far as is known at once; for calls that take no key."""
        if self.is_open:
            return ANONYMOUS
        token = Token.parse(text or "")
        held = self._find(token) if token else None
        return STRANGER if held is None else held.caller

    async def identify(self, text: str | None) -> Caller:
        """Return who calls; Unauthorized, RateLimited, and StoreUnavailable when that cannot be told."""
        if self._configured is None:
            await self._until(self._ended + 1)
        if self.is_open:
            return ANONYMOUS
        if text is None:
            raise Unauthorized("this takes an API key: send `Authorization: Bearer dq_…`")
        token = Token.parse(text)
        if token is None:
            raise Unauthorized("this is no API key: send `Authorization: Bearer dq_…`")
        return await self._admit(token, "the API key is wrong, or it was revoked, or it has expired")

    async def resume(self, session: Proof) -> Caller:
        """Return whose session it is; errors as of `identify`."""
        if self._configured is None:
            await self._until(self._ended + 1)
        if self.is_open:
            return ANONYMOUS
        return await self._admit(session, "the session has ended, or its API key was revoked or has expired")

    async def _admit(self, proof: Proof, otherwise: str) -> Caller:
        held = self._find(proof)
        if held is None and proof.key_id not in self._held:
            await self._until(self._started + 1)
            held = self._find(proof)
        if held is None:
            raise Unauthorized(otherwise)
        if held.bucket is not None and (wait_s := held.bucket.take(self._clock())):
            raise RateLimited(f"the API key may be used {held.bucket.per_s:g} times a second", retry_after_s=wait_s)
        self._used.add(proof.key_id)
        return held.caller

    def _find(self, proof: Proof) -> _Held | None:
        held = self._held.get(proof.key_id)
        if held is None or not proof.fits(held.secret_hash) or self._clock() >= held.ends_at_s:
            return None
        return held

    async def _until(self, reading: int) -> None:
        """Wait for the end of one reading, counted from the first; StoreUnavailable when it fails or takes long."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded("too many requests wait for their API keys to be looked up")
        self._waiting += 1
        self._wake.set()
        try:
            async with asyncio.timeout(WAIT_S):
                while self._ended < reading:
                    await self._turn.wait()
        except TimeoutError:
            raise StoreUnavailable("API keys cannot be looked up: Postgres does not answer") from self._failure
        finally:
            self._waiting -= 1
        if self._failure is not None:
            raise StoreUnavailable("API keys cannot be looked up: Postgres does not answer") from self._failure

    def _hold(self, live: LiveKeys, asked_at_s: float) -> None:
        self._held = {key_id: self._holding(key, asked_at_s) for key_id, key in live.keys.items()}
        before, self._configured = self._configured, live.configured
        if live.configured is before:
            return
        if live.configured:
            log.info("callers_need_api_keys", keys=len(live.keys))
        elif self._open_without_keys:
            log.warning("callers_need_no_api_keys", why="none was ever made: make one by `distriqueue apikey create`")
        else:
            log.warning("callers_are_refused", why="there are no API keys: make one by `distriqueue apikey create`")

    def _holding(self, key: LiveKey, asked_at_s: float) -> _Held:
        ends_at_s = math.inf if key.expires_in_s is None else asked_at_s + key.expires_in_s
        former = self._held.get(key.caller.key_id or "")
        bucket = former.bucket if former else None
        if key.requests_per_s is None:
            bucket = None
        elif bucket is None or bucket.per_s != key.requests_per_s:
            bucket = Bucket(key.requests_per_s, now_s=asked_at_s)
        return _Held(key.caller, key.secret_hash, ends_at_s, bucket)

    async def _touch(self) -> None:
        if not self._used or self._clock() < self._touched_at_s + TOUCH_EVERY_S:
            return
        await self._store.touch(self._used)
        self._used = set()
        self._touched_at_s = self._clock()
