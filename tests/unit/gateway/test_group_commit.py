import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from distriqueue.core.errors import Conflict, DistriQueueError, Overloaded, StoreUnavailable
from gateway.group_commit import GroupCommit


class Ledger:
    """Records its batches; holds the first until told, so that a batch can gather."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fails_with: Exception | None = None

    async def commit(self, items: list[int]) -> Sequence[int | DistriQueueError]:
        self.batches.append(items)
        self.begun.set()
        await self.go_on.wait()
        if self.fails_with is not None and 13 in items:
            raise self.fails_with
        return [Conflict("seven is taken") if item == 7 else item * 10 for item in items]


@asynccontextmanager
async def running(
    ledger: Ledger,
    *,
    max_waiting: int = 100,
    max_batch: int = 50,
    committers: int = 1,
    light: int | None = None,
    heavy: int = 0,
) -> AsyncIterator[GroupCommit[int, int]]:
    commits: GroupCommit[int, int] = GroupCommit(
        ledger.commit,
        name="test",
        max_waiting=max_waiting,
        max_batch=max_batch,
        committers=committers,
        light=light,
        heavy=heavy,
    )
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(commits.run())
        try:
            yield commits
        finally:
            commits.stop()


async def start(group: asyncio.TaskGroup, commits: GroupCommit[int, int], *items: int) -> list[asyncio.Task[int]]:
    tasks = [group.create_task(commits.submit(item)) for item in items]
    await asyncio.sleep(0)  # lets each submit reach its wait
    return tasks


async def test_an_idle_committer_starts_at_once_and_what_arrives_meanwhile_shares_the_next_commit() -> None:
    ledger = Ledger()
    async with running(ledger) as commits, asyncio.TaskGroup() as group:
        first = await start(group, commits, 1)
        await ledger.begun.wait()
        rest = await start(group, commits, 2, 3, 4)
        ledger.go_on.set()
        assert [await task for task in first + rest] == [10, 20, 30, 40]
    assert ledger.batches == [[1], [2, 3, 4]]


async def test_a_batch_is_bounded() -> None:
    ledger = Ledger()
    async with running(ledger, max_batch=2) as commits, asyncio.TaskGroup() as group:
        tasks = await start(group, commits, 1, 2, 3, 4, 5)
        ledger.go_on.set()
        await asyncio.wait(tasks)
    assert ledger.batches == [[1, 2], [3, 4], [5]]


async def test_an_item_that_alone_fails_fails_alone() -> None:
    ledger = Ledger()
    ledger.go_on.set()
    async with running(ledger) as commits:
        answers = await asyncio.gather(*(commits.submit(item) for item in (6, 7, 8)), return_exceptions=True)
    assert answers[0] == 60
    assert isinstance(answers[1], Conflict)
    assert answers[2] == 80


async def test_an_outage_fails_the_whole_batch_as_an_outage() -> None:
    ledger = Ledger()
    ledger.go_on.set()
    ledger.fails_with = StoreUnavailable("down")
    async with running(ledger) as commits:
        answers = await asyncio.gather(*(commits.submit(item) for item in (12, 13)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]
        assert await commits.submit(1) == 10  # the committer lives on


async def test_an_item_that_hits_a_bug_takes_no_other_with_it() -> None:
    ledger = Ledger()
    ledger.go_on.set()
    ledger.fails_with = RuntimeError("a bug of ours")
    async with running(ledger) as commits:
        answers = await asyncio.gather(*(commits.submit(item) for item in (12, 13, 14)), return_exceptions=True)
    assert answers[0] == 120
    assert isinstance(answers[1], RuntimeError)
    assert answers[2] == 140


async def test_more_than_the_bound_is_refused_at_once() -> None:
    ledger = Ledger()
    async with running(ledger, max_waiting=2, max_batch=1) as commits, asyncio.TaskGroup() as group:
        tasks = await start(group, commits, 1, 2)
        with pytest.raises(Overloaded):
            await commits.submit(3)
        ledger.go_on.set()
        await asyncio.wait(tasks)


async def test_a_submitter_that_left_is_not_committed_for() -> None:
    ledger = Ledger()
    async with running(ledger) as commits, asyncio.TaskGroup() as group:
        first = await start(group, commits, 1)
        await ledger.begun.wait()
        gone, stays = await start(group, commits, 2, 3)
        gone.cancel()
        await asyncio.wait([gone])
        ledger.go_on.set()
        await asyncio.wait([*first, stays])
    assert ledger.batches == [[1], [3]]


async def test_stop_finishes_what_was_accepted() -> None:
    ledger = Ledger()
    async with running(ledger) as commits, asyncio.TaskGroup() as group:
        tasks = await start(group, commits, 1, 2)
        commits.stop()
        ledger.go_on.set()
        assert [await task for task in tasks] == [10, 20]
        with pytest.raises(Overloaded):
            await commits.submit(3)


async def test_beside_a_light_commit_another_starts_at_once() -> None:
    ledger = Ledger()
    async with running(ledger, committers=2, light=2, heavy=100) as commits, asyncio.TaskGroup() as group:
        await start(group, commits, 1)
        await ledger.begun.wait()
        await start(group, commits, 2)
        await asyncio.sleep(0)
        assert ledger.batches == [[1], [2]]
        ledger.go_on.set()


async def test_a_heavy_commit_gathers_unless_much_waits() -> None:
    ledger = Ledger()
    async with running(ledger, committers=2, light=2, heavy=3) as commits, asyncio.TaskGroup() as group:
        tasks = await start(group, commits, 1, 2)
        await ledger.begun.wait()
        tasks += await start(group, commits, 3, 4)
        await asyncio.sleep(0)
        assert ledger.batches == [[1, 2]]
        tasks += await start(group, commits, 5)
        await asyncio.sleep(0)
        assert ledger.batches == [[1, 2], [3, 4, 5]]
        tasks += await start(group, commits, 6)
        ledger.go_on.set()
        assert [await task for task in tasks] == [10, 20, 30, 40, 50, 60]
    assert ledger.batches == [[1, 2], [3, 4, 5], [6]]


async def test_what_waited_for_a_heavy_commit_is_committed_at_its_end() -> None:
    ledger = Ledger()
    async with running(ledger, committers=2, light=1, heavy=100) as commits, asyncio.TaskGroup() as group:
        first = await start(group, commits, 1)
        await ledger.begun.wait()
        rest = await start(group, commits, 2)
        for _ in range(5):
            await asyncio.sleep(0)
        assert ledger.batches == [[1]]
        ledger.go_on.set()
        assert [await task for task in first + rest] == [10, 20]
