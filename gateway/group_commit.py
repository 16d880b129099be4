"""Group commit: what arrives while a commit is in flight shares the next one.

There is no linger: an idle committer starts at once, and the commit in flight is what gathers the batch. Under load
one large commit is cheaper than two small ones side by side; under little load nobody waits for another's commit.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from distriqueue.core.errors import DistriQueueError, Overloaded
from distriqueue.telemetry import get_logger

log = get_logger("group_commit")

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

OnCommit: TypeAlias = Callable[[int, float], None]
"""Told of each commit: the weight of its batch, and how many seconds it took."""


def untold(_weight: int, _took_s: float) -> None:
    """Nobody wants to know of commits."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[ItemT, AnswerT]):
    item: ItemT
    weight: int
    answer: asyncio.Future[AnswerT]


class GroupCommit(Generic[ItemT, AnswerT]):
    """Gathers items into batches for `commit`, and hands each submitter its own answer or error.

    `commit` answers in the order of its items, an exception among the answers for an item that alone failed. Raising a
    DistriQueueError fails the whole batch; any other error is a bug that one item may have hit, so each is tried alone.
    """

    def __init__(
        self,
        commit: Callable[[list[ItemT]], Awaitable[Sequence[AnswerT | DistriQueueError]]],
        *,
        name: str,
        max_waiting: int,
        max_batch: int,
        committers: int = 2,
        light: int | None = None,
        heavy: int = 0,
        on_commit: OnCommit = untold,
    ) -> None:
        """With `light`, a commit starts beside others only if these are lighter than that, or `heavy` waits."""
        self._on_commit = on_commit
        self._commit = commit
        self._name = name
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._committers = committers
        self._light = light
        self._heavy = heavy
        self._in_flight: list[int] = []
        """The weights of the commits that run."""
        self._queue: deque[_Waiting[ItemT, AnswerT]] = deque()
        self._weight = 0
        self._arrived = asyncio.Event()
        self._stopping = False

    @property
    def waiting(self) -> int:
        """The weight of what waits for a commit."""
        return self._weight

    async def submit(self, item: ItemT, *, weight: int = 1) -> AnswerT:
        """Wait for the item's commit and return its answer; Overloaded when too much waits already."""
        if self._stopping or self._weight + weight > max(self._max_waiting, weight):
            raise Overloaded(
                f"{self._weight} items wait for a commit in {self._name}, the bound is {self._max_waiting}"
            )
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item, weight, answer))
        self._weight += weight
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Commit until `stop`; then finish what was accepted."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._committers):
                group.create_task(self._run_one())

    def stop(self) -> None:
        """Accept no more; `run` returns once what waits is committed."""
        self._stopping = True
        self._arrived.set()

    async def _run_one(self) -> None:
        while True:
            await self._arrived.wait()
            while self._may_start() and (batch := self._take()):
                weight = sum(waiting.weight for waiting in batch)
                self._in_flight.append(weight)
                began_at = time.monotonic()
                await self._settle(batch)
                self._on_commit(weight, time.monotonic() - began_at)
                self._in_flight.remove(weight)
                self._arrived.set()  # another may have waited for this one's end
            if self._stopping and not self._queue:
                return
            self._arrived.clear()

    def _may_start(self) -> bool:
        if self._light is None or not self._in_flight:
            return True
        return sum(self._in_flight) < self._light or self._weight >= self._heavy

    def _take(self) -> list[_Waiting[ItemT, AnswerT]]:
        batch: list[_Waiting[ItemT, AnswerT]] = []
        weight = 0
        while self._queue and (not batch or weight + self._queue[0].weight <= self._max_batch):
            waiting = self._queue.popleft()
            self._weight -= waiting.weight
            if not waiting.answer.done():  # its submitter has gone
                batch.append(waiting)
                weight += waiting.weight
        return batch

    async def _settle(self, batch: list[_Waiting[ItemT, AnswerT]]) -> None:
        try:
            answers: Sequence[AnswerT | DistriQueueError] = await self._commit([waiting.item for waiting in batch])
        except DistriQueueError as exc:
            answers = [exc] * len(batch)
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.answer.cancel()
            raise
        except Exception as exc:
            if len(batch) > 1:
                log.exception("batch_failed_tried_apart", batch=self._name, items=len(batch))
                for waiting in batch:
                    await self._settle([waiting])
                return
            log.exception("item_failed", batch=self._name)
            _refuse(batch[0].answer, exc)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, DistriQueueError):
                _refuse(waiting.answer, answer)
            elif not waiting.answer.done():
                waiting.answer.set_result(answer)


def _refuse(answer: asyncio.Future[AnswerT], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
