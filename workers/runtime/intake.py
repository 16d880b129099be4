"""From deliveries to running attempts: fill the free slots by lane, claim in one go, start what is accepted."""

import asyncio
import time
from collections import Counter, deque
from typing import Final, Protocol

from distriqueue.core.job import Priority
from distriqueue.core.messages import Answer, Dispatch
from distriqueue.core.ports import Consumer, Delivery
from distriqueue.lifecycle import wait_for
from distriqueue.telemetry import get_logger
from distriqueue.telemetry.tracing import Tracing, ago_ns, attributes_of
from workers.runtime.attempt import OnFree
from workers.runtime.lanes import LaneChoice
from workers.runtime.outcome import RELEASED, Outcome
from workers.runtime.pending import Granted, OnAnswer
from workers.runtime.pipeline import STALLED_S, ClaimAhead
from workers.runtime.recent import AttemptKey, RecentAttempts, key_of

log = get_logger("worker.intake")

BUSY_S: Final = 0.25
"""So long without a free slot, and what is at hand is given back for other workers to run."""
HELD_S: Final = 1.0
"""What is at hand for longer is given back too; looked at that often, so nothing is held back for twice as long."""
RECENT_FREE_S: Final = 0.1
"""A full worker claims ahead only while its slots keep freeing."""
IDLE_S: Final = 0.25
PAUSED_LANE_POLL_S: Final = 0.05
_DOUBLED: Final = frozenset({"running_elsewhere", "finished", "stale_attempt"})
"""Why a dispatch is refused that was delivered twice, as those of a message are of which a part was given back."""


class Claims(Protocol):
    """The outbox, as far as claims go."""

    @property
    def full(self) -> bool:
        """Whether no new claim should be made."""

    def claim(self, dispatch: Dispatch, on_answer: OnAnswer) -> None:
        """Ask whether the attempt may run."""

    def end(self, key: AttemptKey, outcome: Outcome) -> None:
        """Tell how an attempt ended."""

    def withdraw_claims(self) -> list[AttemptKey]:
        """Take back what no gateway has seen."""


class Slots(Protocol):
    """The executor, as far as starting goes."""

    used: int

    def holds(self, key: AttemptKey) -> bool:
        """Tell whether the attempt runs here."""

    def start(self, dispatch: Dispatch, on_free: OnFree, granted: Granted) -> None:
        """Run an accepted attempt."""


class Intake:
    """Takes, claims and starts; run `run` and `run_acks` in tasks."""

    def __init__(
        self,
        consumer: Consumer,
        choice: LaneChoice,
        claims: Claims,
        slots: Slots,
        *,
        capacity: int,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._consumer = consumer
        self._choice = choice
        self._claims = claims
        self._slots = slots
        self._capacity = capacity
        self._ahead = ClaimAhead(capacity)
        self._recent = RecentAttempts()
        self._undecided: dict[AttemptKey, tuple[Delivery, float]] = {}
        self._ready: dict[Priority, deque[tuple[Dispatch, Granted, float]]] = {lane: deque() for lane in Priority}
        self._ready_count = 0
        self._decided: list[Delivery] = []
        self._to_ack = asyncio.Event()
        self._wake = asyncio.Event()
        self._freed_at = 0.0
        self._taken: Counter[Priority] = Counter()
        self._seen: dict[Priority, int] = {}
        """Of each lane, how many will have been taken once all is taken that was at hand at `_seen_at`."""
        self._seen_at = time.monotonic()
        self._draining = False
        self._leaving = False
        self.paused: frozenset[Priority] = frozenset()
        """Lanes that an operator has paused: nothing is taken from them."""

    @property
    def load(self) -> int:
        """How many jobs this worker has to do with: in slots, accepted, and being claimed."""
        return self._slots.used + self._ready_count + len(self._undecided)

    async def run(self) -> None:
        """Keep the slots filled until `drain`."""
        while not self._draining:
            budget = self._budget()
            if self._holds_back():
                await self._consumer.pause()
                await self._resume()
            elif budget <= 0:
                await self._until_budget()
            elif self._take(budget):
                await asyncio.sleep(0)
            else:
                await self._until_delivery()

    async def run_acks(self) -> None:
        """Ack what is decided, as much at a time as there is."""
        while True:
            await self._to_ack.wait()
            self._to_ack.clear()
            decided, self._decided = self._decided, []
            await self._consumer.ack(decided)

    async def drain(self) -> None:
        """Take no more, and give back what no gateway has seen a claim for."""
        self._draining = True
        self._wake.set()
        await self._consumer.pause()
        withdrawn = [self._undecided.pop(key)[0] for key in self._claims.withdraw_claims()]
        await self._consumer.release(withdrawn)

    async def settled(self, timeout_s: float) -> bool:
        """Wait until no claim is undecided and none accepted waits for a slot."""
        deadline = time.monotonic() + timeout_s
        while (self._undecided or self._ready_count) and (left_s := deadline - time.monotonic()) > 0:
            self._wake.clear()
            await wait_for(self._wake, left_s)
        return not self._undecided and not self._ready_count

    def leave(self) -> None:
        """Start nothing more: what was accepted, or still will be, is released."""
        self._leaving = True
        self._release_ready(older_than_s=0.0)

    async def close(self) -> None:
        """Ack what is decided, give back the rest."""
        decided, self._decided = self._decided, []
        await self._consumer.ack(decided)
        await self._consumer.release([delivery for delivery, _ in self._undecided.values()])
        self._undecided.clear()
        await self._consumer.close()

    def _budget(self) -> int:
        """How many more to claim now: the free slots, and what frees during one claim."""
        if self._claims.full:
            return 0
        used = self._slots.used
        keeps_freeing = used < self._capacity or time.monotonic() - self._freed_at < RECENT_FREE_S
        ahead = self._ahead.depth if keeps_freeing else 0
        return self._capacity + ahead - used - self._ready_count - len(self._undecided)

    def _take(self, budget: int) -> bool:
        """Take up to `budget` deliveries by lane and claim them; tell whether there was anything."""
        now = time.monotonic()
        taken = False
        while budget > 0 and (lane := self._choice.choose(self._waiting)) is not None:
            delivery = self._consumer.take(lane)
            if delivery is None:
                break
            taken = True
            self._taken[lane] += 1
            key = key_of(delivery.dispatch)
            if key in self._undecided or key in self._recent or self._slots.holds(key):
                self._decide(delivery)  # delivered again: it is in our hands, or has been
                continue
            budget -= 1
            self._undecided[key] = (delivery, now)
            self._claims.claim(delivery.dispatch, self._answered)
        return taken

    def _waiting(self, lane: Priority) -> int:
        return 0 if lane in self.paused else self._consumer.waiting(lane)

    def _decide(self, delivery: Delivery) -> None:
        self._decided.append(delivery)
        self._to_ack.set()

    def _answered(self, key: AttemptKey, answer: str, reason: str | None, granted: Granted) -> None:
        delivery, claimed_at = self._undecided.pop(key)
        now = time.monotonic()
        self._ahead.claimed(now - claimed_at)
        self._decide(delivery)
        self._wake.set()
        trace = delivery.dispatch.trace
        if trace is not None and self._tracing is not None:
            about = {**attributes_of(delivery.dispatch), "distriqueue.answer": answer}
            self._tracing.record("claim", kind="consumer", parent=trace, began_ns=ago_ns(now - claimed_at), **about)
        if answer != Answer.ACCEPTED:
            say = log.debug if reason in _DOUBLED else log.info
            say("claim_refused", job_id=str(key[0]), attempt=key[1], answer=answer, reason=reason)
            return
        self._recent.add(key)
        if self._leaving:
            self._claims.end(key, RELEASED)
            return
        if self._slots.used < self._capacity:
            self._slots.start(delivery.dispatch, self._freed, granted)
            return
        self._ready[delivery.lane].append((delivery.dispatch, granted, now))
        self._ready_count += 1

    def _freed(self, took_s: float) -> None:
        """A slot is free: the most urgent of the accepted gets it, or else the next delivery."""
        self._ahead.ended(took_s)
        self._freed_at = time.monotonic()
        while self._ready_count and self._slots.used < self._capacity:
            for waiting in self._ready.values():
                if waiting:
                    self._ready_count -= 1
                    dispatch, granted, _ = waiting.popleft()
                    self._slots.start(dispatch, self._freed, granted)
                    break
        self._wake.set()

    async def _until_budget(self) -> None:
        """Wait until something can be claimed; after `BUSY_S` without any change let other workers have the rest."""
        self._wake.clear()
        if await wait_for(self._wake, BUSY_S) or self._draining:
            return
        await self._consumer.pause()
        while not self._draining and self._budget() <= 0:
            self._release_ready(older_than_s=STALLED_S)
            self._wake.clear()
            await wait_for(self._wake, BUSY_S)
        await self._resume()

    def _holds_back(self) -> bool:
        """Tell, every `HELD_S`, whether something is at hand that was so at the last look."""
        now = time.monotonic()
        if now - self._seen_at < HELD_S:
            return False
        held = any(self._taken[lane] < seen for lane, seen in self._seen.items() if self._waiting(lane))
        self._look(now)
        return held

    def _look(self, now: float) -> None:
        self._seen = {lane: self._taken[lane] + self._consumer.waiting(lane) for lane in self._choice.lanes}
        self._seen_at = now

    async def _resume(self) -> None:
        if not self._draining:
            await self._consumer.resume()
            self._look(time.monotonic())

    async def _until_delivery(self) -> None:
        if self.paused and any(self._consumer.waiting(lane) for lane in self.paused):
            # The consumer would say "there is one" at once: it knows nothing of paused lanes.
            self._wake.clear()
            await wait_for(self._wake, PAUSED_LANE_POLL_S)
        else:
            await self._consumer.wait(IDLE_S)

    def _release_ready(self, *, older_than_s: float) -> None:
        """Give back accepted attempts that found no slot: others may have one."""
        before = time.monotonic() - older_than_s
        for waiting in self._ready.values():
            while waiting and waiting[0][2] <= before:
                dispatch, _, _ = waiting.popleft()
                self._ready_count -= 1
                self._claims.end(key_of(dispatch), RELEASED)
        self._wake.set()
