"""What handlers say, leave and are given, in the loop, in threads and in child processes; and whose turn it is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
import structlog

from distriqueue.core.errors import BadSetting
from distriqueue.core.messages import Dispatch, ReportStatus
from tests.unit.workers.fakes import dispatch_of, until
from tests.unit.workers.talkers import World
from tests.unit.workers.test_executor import Ends
from workers.runtime import executor as executors
from workers.runtime import provided
from workers.runtime.executor import Executor
from workers.runtime.outcome import Outcome
from workers.runtime.pending import Granted
from workers.runtime.recent import key_of

KINDS = ["talk", "thread_talk", "child_talk"]


class Lab:
    """An executor and its world."""

    def __init__(self, group: asyncio.TaskGroup, capacity: int) -> None:
        self.world = World()
        self.ends = Ends()
        self.executor = Executor(self.world.registry(), self.ends, group=group, capacity=capacity)
        self.freed: list[float] = []

    def start(self, type_: str, *, attempt: int = 1, resume: Any = None, **payload: Any) -> Dispatch:
        """Start a job."""
        dispatch = dispatch_of(type_, payload, attempt=attempt)
        self.executor.start(dispatch, self.freed.append, Granted((), resume))
        return dispatch

    async def run(self, type_: str, **payload: Any) -> Outcome:
        """Run a job to its end."""
        return await self.ends.of(self.start(type_, **payload))


@contextlib.asynccontextmanager
async def a_lab(capacity: int = 4) -> AsyncIterator[Lab]:
    """Open an executor."""
    async with asyncio.TaskGroup() as group:
        lab = Lab(group, capacity)
        try:
            yield lab
        finally:
            lab.world.go.set()
            lab.world.open_gate.set()
            lab.executor.release_all()
            await until(lambda: lab.executor.used == 0 and lab.executor.abandoned == 0)
            await lab.executor.close()


@pytest.mark.parametrize("type_", KINDS)
async def test_lines_and_checkpoint_come_with_the_end_and_once(type_: str) -> None:
    async with a_lab() as lab:
        outcome = await lab.run(type_, lines=3, checkpoint={"page": 7}, fail=True)
        said = [*lab.ends.lines, *outcome.lines]
        assert [(line["n"], line["message"], line["fields"]["number"]) for line in said] == [
            (1, "step", 0),
            (2, "step", 1),
            (3, "step", 2),
        ]
        assert outcome.status is ReportStatus.FAILED
        checkpoints = [*lab.ends.checkpoints, *([outcome.checkpoint] if outcome.checkpoint else [])]
        assert orjson.loads(checkpoints[-1]) == {"page": 7}


@pytest.mark.parametrize("type_", KINDS)
async def test_the_next_attempt_is_given_what_was_left(type_: str) -> None:
    async with a_lab() as lab:
        assert (await lab.run(type_)).result == b"null"
        assert (await lab.run(type_, checkpoint=None)).error_type == "ValueError"
        assert (await lab.ends.of(lab.start(type_, attempt=2))).lines == ()
        resumed = await lab.ends.of(lab.start(type_, attempt=2, resume={"page": [7, "ä"]}))
        assert orjson.loads(resumed.result or b"") == {"page": [7, "ä"]}


@pytest.mark.parametrize("type_", KINDS)
async def test_a_flood_of_lines_is_bounded(type_: str) -> None:
    with structlog.testing.capture_logs():
        async with a_lab() as lab:
            outcome = await lab.run(type_, lines=3_000)
            numbers = [line["n"] for line in (*lab.ends.lines, *outcome.lines)]
            assert numbers == list(range(1, 1_001))


async def test_a_running_job_is_heard_without_any_progress() -> None:
    async with a_lab() as lab:
        dispatch = lab.start("talk_on", say=["line", "checkpoint"])
        await until(lambda: bool(lab.ends.lines))
        assert lab.ends.checkpoints == []
        lab.world.go.set()
        await until(lambda: bool(lab.ends.checkpoints))
        assert [line["message"] for line in lab.ends.lines] == ["one"]
        assert lab.ends.checkpoints == [b'{"at":1}']
        assert lab.ends.progressed == []
        lab.world.go.set()
        outcome = await lab.ends.of(dispatch)
        assert (outcome.lines, outcome.checkpoint) == ((), None)


async def test_what_is_said_later_does_not_repeat_the_progress() -> None:
    async with a_lab() as lab:
        dispatch = lab.start("talk_on", say=["progress", "line"])
        await until(lambda: bool(lab.ends.progressed))
        lab.world.go.set()
        await until(lambda: bool(lab.ends.lines))
        lab.world.go.set()
        await lab.ends.of(dispatch)
        assert lab.ends.progressed == [(5.0, "five")]


async def test_what_is_no_checkpoint_is_refused_at_once() -> None:
    async with a_lab() as lab:
        for wrong in ("\0", "x" * 65_536):
            assert (await lab.run("talk", checkpoint=wrong)).error_type == "ValueError"
        assert (await lab.run("talk", checkpoint="x" * 65_534)).status is ReportStatus.COMPLETED


@pytest.mark.parametrize("type_", ["picky", "child_picky"])
async def test_a_handlers_policy_for_its_failures(type_: str) -> None:
    async with a_lab() as lab:
        again = await lab.ends.of(lab.start(type_, attempt=3, again=True))
        assert (again.error_type, again.retryable, again.retry_after_s) == ("OSError", True, 12)
        never = await lab.run(type_)
        assert (never.error_type, never.retryable) == ("ValueError", False)


async def test_of_a_limited_type_so_many_run_and_others_take_their_slots_meanwhile() -> None:
    async with a_lab(capacity=4) as lab:
        limited = [lab.start("wait_for_turn") for _ in range(5)]
        await until(lambda: lab.world.running.get("wait_for_turn") == 2)
        assert lab.executor.used == 2
        assert (await lab.run("free")).status is ReportStatus.COMPLETED
        assert not await lab.executor.idle(0)
        lab.world.go.set()
        outcomes = [await lab.ends.of(dispatch) for dispatch in limited]
        assert {outcome.status for outcome in outcomes} == {ReportStatus.COMPLETED}
        assert lab.world.most == {"wait_for_turn": 2}
        assert (lab.executor.used, len(lab.freed)) == (0, 6)


async def test_children_of_a_limited_type_take_turns() -> None:
    async with a_lab(capacity=4) as lab:
        jobs = [lab.start("child_turn", s=0.05) for _ in range(3)]
        spans = sorted([orjson.loads((await lab.ends.of(job)).result or b"") for job in jobs])
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


async def test_who_waits_for_a_turn_begins_its_time_with_it() -> None:
    async with a_lab(capacity=1) as lab:
        dispatches = [dispatch_of("thread_turn", {"s": 0.15}, timeout_s=0.25) for _ in range(3)]
        for dispatch in dispatches:
            lab.executor.start(dispatch, lab.freed.append)
        assert [(await lab.ends.of(dispatch)).status for dispatch in dispatches] == [ReportStatus.COMPLETED] * 3
        assert lab.world.most == {"thread_turn": 1}
        assert all(took_s < 0.25 for took_s in lab.freed)


async def test_who_waits_too_long_for_a_turn_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "TURN_S", 0.05)
    async with a_lab() as lab:
        running = [lab.start("wait_for_turn") for _ in range(2)]
        waiting = lab.start("wait_for_turn")
        assert lab.executor.holds(key_of(waiting))
        assert (await lab.ends.of(waiting)).status is ReportStatus.RELEASED
        assert not lab.executor.holds(key_of(waiting))
        lab.world.go.set()
        assert [(await lab.ends.of(dispatch)).status for dispatch in running] == [ReportStatus.COMPLETED] * 2
        assert lab.world.most == {"wait_for_turn": 2}


async def test_who_waits_for_a_turn_can_be_cancelled_and_released() -> None:
    async with a_lab() as lab:
        for _ in range(2):
            lab.start("wait_for_turn")
        cancelled, released = lab.start("wait_for_turn"), lab.start("wait_for_turn")
        lab.executor.cancel(cancelled.job_id)
        assert not lab.executor.holds(key_of(cancelled)), "nothing of it runs that would have to be waited for"
        assert (await lab.ends.of(cancelled)).status is ReportStatus.CANCELLED
        lab.executor.release_all()
        assert not lab.executor.holds(key_of(released))
        assert (await lab.ends.of(released)).status is ReportStatus.RELEASED


async def test_a_long_line_of_one_type_counts_as_work_so_that_not_all_is_claimed() -> None:
    async with a_lab(capacity=3) as lab:
        waiting = [lab.start("wait_for_turn") for _ in range(2 + 3 + 4)]
        assert lab.executor.used == 2 + 4
        lab.executor.cancel(waiting[-1].job_id)
        assert lab.executor.used == 2 + 3
        lab.world.go.set()
        for dispatch in waiting[:-1]:
            assert (await lab.ends.of(dispatch)).status is ReportStatus.COMPLETED
        assert lab.executor.used == 0


async def test_a_hanging_handler_keeps_its_turn_but_not_its_slot() -> None:
    async with a_lab(capacity=2) as lab:
        hung = dispatch_of("thread_turn", {"s": 0.4}, timeout_s=0.05)
        lab.executor.start(hung, lab.freed.append)
        assert (await lab.ends.of(hung)).status is ReportStatus.TIMEOUT
        assert (lab.executor.used, lab.executor.abandoned) == (0, 1)
        second = lab.start("thread_turn", s=0)
        assert lab.executor.used == 0, "it runs beside the one that hangs"
        assert (await lab.ends.of(second)).status is ReportStatus.COMPLETED
        assert lab.world.most == {"thread_turn": 1}


async def test_what_a_handler_needs_is_opened_once_when_it_is_needed_and_closed_at_the_end() -> None:
    with structlog.testing.capture_logs() as logs:
        async with a_lab() as lab:
            assert (await lab.run("free")).status is ReportStatus.COMPLETED
            assert lab.world.opened == []
            dispatches = [lab.start("needs") for _ in range(3)]
            for dispatch in dispatches:
                assert (await lab.ends.of(dispatch)).result == b'[1,true,"Database"]'
            assert (await lab.run("thread_needs")).result == b'[1,true,"Cache"]'
            assert lab.world.opened == ["database", "cache"]
            assert lab.world.closed == []
        assert lab.world.closed == ["database"]
    assert [(log["event"], log["dependency"]) for log in logs if "dependency" in log] == [
        ("dependency_close_failed", "Cache")
    ]


async def test_what_cannot_be_opened_fails_the_job_and_is_tried_again_for_the_next() -> None:
    async with a_lab() as lab:
        lab.world.fail_to_open = 1
        failed = await lab.run("needs")
        assert (failed.error_type, failed.retryable) == ("dependency_unavailable", True)
        assert "no database today" in (failed.error_message or "")
        assert (await lab.run("needs")).status is ReportStatus.COMPLETED
        nobody = await lab.run("missing")
        assert (nobody.error_type, nobody.retryable) == ("dependency_unavailable", False)
        assert "nothing provides World" in (nobody.error_message or "")
        assert lab.executor.used == 0


@pytest.mark.parametrize("type_", ["needs", "thread_needs"])
async def test_a_job_can_be_cancelled_while_its_needs_are_opened(type_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.runtime.runner.STOP_GRACE_S", 0.05)
    async with a_lab() as lab:
        lab.world.open_gate.clear()
        waiting = lab.start(type_)
        await asyncio.sleep(0)
        lab.executor.cancel(waiting.job_id)
        assert (await lab.ends.of(waiting)).status is ReportStatus.CANCELLED
        other = lab.start("needs")
        lab.world.open_gate.set()
        assert (await lab.ends.of(other)).status is ReportStatus.COMPLETED


async def test_what_hangs_while_it_is_opened_or_closed_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provided, "OPEN_S", 0.05)
    monkeypatch.setattr(provided, "CLOSE_S", 0.05)
    with structlog.testing.capture_logs() as logs:
        async with a_lab() as lab:
            lab.world.open_gate.clear()
            failed = await lab.run("needs")
            assert (failed.error_type, failed.retryable) == ("dependency_unavailable", True)
            lab.world.open_gate.set()
            assert (await lab.run("needs")).status is ReportStatus.COMPLETED
            lab.world.close_gate.clear()
    assert "dependency_not_closed" in [log["event"] for log in logs]


async def test_a_child_takes_its_context_by_name() -> None:
    async with a_lab() as lab:
        assert (await lab.run("child_by_name")).result == b"1"


async def test_what_nobody_provides_stops_the_start() -> None:
    with pytest.raises(BadSetting, match=r"asks for other: World, and nothing provides that"):
        World().registry().check()
