"""Attempts in the loop, in threads and in child processes: how each of them ends."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import psutil
import pytest

from distriqueue.core.job import new_job_id
from distriqueue.core.messages import Dispatch, Report, ReportStatus
from tests.unit.workers.fakes import dispatch_of, until
from tests.unit.workers.samples import Gates, registry_with
from workers.runtime.executor import Executor
from workers.runtime.joblog import Line
from workers.runtime.outcome import Outcome
from workers.runtime.pending import NOTHING, Granted, OnAnswer
from workers.runtime.recent import AttemptKey, key_of


class Ends:
    """Takes reports as the outbox would."""

    def __init__(self) -> None:
        self.outcomes: dict[AttemptKey, Outcome] = {}
        self.progressed: list[tuple[float, str | None]] = []
        self.lines: list[Line] = []
        self.checkpoints: list[bytes] = []
        self.on_answer: OnAnswer | None = None
        self.changed = asyncio.Event()

    def progress(
        self,
        key: AttemptKey,
        percent: float | None,
        message: str | None,
        on_answer: OnAnswer,
        *,
        lines: Sequence[Line] = (),
        checkpoint: bytes | None = None,
    ) -> None:
        """Note it."""
        assert key not in self.outcomes, "progress after the end"
        if percent is not None:
            self.progressed.append((percent, message))
        self.lines += lines
        if checkpoint is not None:
            self.checkpoints.append(checkpoint)
        self.on_answer = on_answer
        self.changed.set()

    def end(self, key: AttemptKey, outcome: Outcome) -> None:
        """Note it, once."""
        assert key not in self.outcomes
        self.outcomes[key] = outcome
        self.changed.set()

    async def of(self, dispatch: Dispatch, timeout_s: float = 10.0) -> Outcome:
        """Wait for the end of the attempt."""
        async with asyncio.timeout(timeout_s):
            while key_of(dispatch) not in self.outcomes:
                self.changed.clear()
                await self.changed.wait()
        return self.outcomes[key_of(dispatch)]


class Lab:
    """An executor, its gates and its ends."""

    def __init__(self, group: asyncio.TaskGroup, capacity: int) -> None:
        self.gates = Gates()
        self.ends = Ends()
        self.executor = Executor(registry_with(self.gates), self.ends, group=group, capacity=capacity)
        self.freed: list[float] = []

    def start(
        self,
        type_: str,
        payload: dict[str, Any] | None = None,
        timeout_s: float = 30.0,
        *,
        parents: Sequence[Any] = (),
        checkpoint: Any = None,
        attempt: int = 1,
    ) -> Dispatch:
        """Run a job."""
        dispatch = dispatch_of(type_, payload, timeout_s=timeout_s, attempt=attempt)
        self.executor.start(dispatch, self.freed.append, Granted(parents, checkpoint))
        return dispatch

    async def run(self, type_: str, payload: dict[str, Any] | None = None, timeout_s: float = 30.0) -> Outcome:
        """Run a job to its end."""
        return await self.ends.of(self.start(type_, payload, timeout_s))


@contextlib.asynccontextmanager
async def a_lab(capacity: int = 4) -> AsyncIterator[Lab]:
    """Open an executor."""
    async with asyncio.TaskGroup() as group:
        lab = Lab(group, capacity)
        try:
            yield lab
        finally:
            lab.gates.go.set()
            lab.gates.thread_go.set()
            lab.executor.release_all()
            await until(lambda: lab.executor.used == 0 and lab.executor.abandoned == 0)
            await lab.executor.close()


async def test_an_async_handler_runs_in_the_loop() -> None:
    async with a_lab() as lab:
        outcome = await lab.run("amount", {"amount": 3})
        assert (outcome.status, outcome.result) == (ReportStatus.COMPLETED, b"3")
        assert lab.executor.used == 0
        assert len(lab.freed) == 1


async def test_a_sync_handler_runs_in_a_thread_that_is_used_again() -> None:
    async with a_lab() as lab:
        lab.gates.thread_go.set()
        names = {(await lab.run("thread_wait")).result for _ in range(3)}
        assert names == {b'"handler-1"'}


async def test_a_wrong_payload_names_its_field_and_is_not_tried_again() -> None:
    async with a_lab() as lab:
        outcome = await lab.run("amount", {"amount": "many"})
        assert (outcome.status, outcome.error_type, outcome.retryable) == (
            ReportStatus.FAILED,
            "invalid_payload",
            False,
        )
        assert (outcome.error_message or "").startswith("payload.amount: ")


async def test_an_unknown_type_lists_the_known_ones() -> None:
    async with a_lab() as lab:
        outcome = await lab.run("no_such_type")
        assert (outcome.error_type, outcome.retryable) == ("unknown_job_type", False)
        assert "amount, brief" in (outcome.error_message or "")
        assert lab.executor.used == 0


@pytest.mark.parametrize(
    ("how", "error_type", "retryable", "retry_after_s"),
    [
        ("value", "ValueError", True, None),
        ("retry", "retry", True, 7),
        ("discard", "discard", False, None),
        ("exit", "SystemExit", True, None),
        ("cancel", "interrupted", True, None),
        ("deep", "RecursionError", True, None),
    ],
)
async def test_what_a_handler_raises(how: str, error_type: str, retryable: bool, retry_after_s: float | None) -> None:
    async with a_lab() as lab:
        outcome = await lab.run("raises", {"how": how})
        assert outcome.status is ReportStatus.FAILED
        assert (outcome.error_type, outcome.retryable, outcome.retry_after_s) == (error_type, retryable, retry_after_s)
        assert "\x00" not in (outcome.error_message or "") + (outcome.traceback or "")


async def test_a_result_that_is_no_json_fails() -> None:
    async with a_lab() as lab:
        outcome = await lab.run("returns_junk")
        assert (outcome.error_type, outcome.retryable) == ("result_not_json", False)


@pytest.mark.parametrize("type_", ["wait", "thread_wait", "child_spins"])
async def test_a_timeout_ends_every_kind(type_: str) -> None:
    async with a_lab() as lab:
        outcome = await lab.run(type_, timeout_s=0.2)
        assert outcome.status is ReportStatus.TIMEOUT
        assert outcome.error_message == "no end within 0.2 s"


async def test_a_handler_may_have_a_timeout_of_its_own() -> None:
    async with a_lab() as lab:
        outcome = await lab.run("brief", timeout_s=60)
        assert outcome.error_message == "no end within 0.05 s"


@pytest.mark.parametrize("type_", ["wait", "thread_wait"])
async def test_a_cancel_ends_loop_and_thread_handlers(type_: str) -> None:
    async with a_lab() as lab:
        dispatch = lab.start(type_)
        await lab.gates.started.wait()
        lab.executor.cancel(dispatch.job_id)
        lab.executor.cancel(dispatch.job_id)
        assert (await lab.ends.of(dispatch)).status is ReportStatus.CANCELLED
        assert lab.gates.cleaned_up or type_ == "thread_wait"


async def test_a_cancel_before_the_first_step_ends_the_attempt_too() -> None:
    async with a_lab() as lab:
        dispatches = [lab.start(type_) for type_ in ("wait", "child_pid")]
        for dispatch in dispatches:
            lab.executor.cancel(dispatch.job_id)
        for dispatch in dispatches:
            assert (await lab.ends.of(dispatch)).status is ReportStatus.CANCELLED
        assert not lab.gates.started.is_set()


async def test_who_completes_in_spite_of_a_cancel_has_completed() -> None:
    async with a_lab() as lab:
        dispatch = lab.start("thread_hang")
        await lab.gates.started.wait()
        lab.executor.cancel(dispatch.job_id)
        lab.gates.thread_go.set()
        assert (await lab.ends.of(dispatch)).status is ReportStatus.COMPLETED


async def test_release_gives_back_what_runs() -> None:
    async with a_lab() as lab:
        dispatches = [lab.start("wait"), lab.start("thread_wait")]
        await lab.gates.started.wait()
        lab.executor.release_all()
        for dispatch in dispatches:
            assert (await lab.ends.of(dispatch)).status is ReportStatus.RELEASED


async def test_a_hanging_thread_is_abandoned_and_others_run_in_its_slot() -> None:
    async with a_lab(capacity=1) as lab:
        hung = lab.start("thread_hang", timeout_s=0.05)
        assert (await lab.ends.of(hung)).status is ReportStatus.TIMEOUT
        assert (lab.executor.used, lab.executor.abandoned) == (0, 1)
        second = lab.start("thread_hang", timeout_s=0.05)
        assert (await lab.ends.of(second)).status is ReportStatus.TIMEOUT
        assert (lab.executor.used, lab.executor.abandoned) == (1, 2), "too many: this one keeps its slot"
        assert await lab.executor.idle(0)
        lab.gates.thread_go.set()
        await until(lambda: lab.executor.abandoned == 0)
        assert lab.executor.used == 0
        assert len(lab.freed) == 2


async def test_a_stubborn_task_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.runtime.runner.STOP_GRACE_S", 0.05)
    async with a_lab() as lab:
        outcome = await lab.run("stubborn", timeout_s=0.05)
        assert outcome.status is ReportStatus.TIMEOUT
        assert lab.executor.abandoned == 1


async def test_progress_is_sent_a_few_times_and_the_last_counts() -> None:
    async with a_lab() as lab:
        dispatch = lab.start("progress", {"steps": 1000})
        await until(lambda: (100.0, "step 1000") in lab.ends.progressed)
        assert len(lab.ends.progressed) <= 2
        lab.gates.go.set()
        await lab.ends.of(dispatch)


async def test_a_long_progress_message_is_cut_to_what_a_report_takes() -> None:
    async with a_lab() as lab:
        for message in ("ä" * 500, "ä" * 501, "\U0001f600\x00\ud800" * 400):
            lab.ends.progressed.clear()
            dispatch = lab.start("says", {"message": message})
            await until(lambda: bool(lab.ends.progressed))
            _, said = lab.ends.progressed[0]
            Report(job_id=dispatch.job_id, attempt=1, status=ReportStatus.RUNNING, worker_id="w", progress_message=said)
            assert (said or "").encode().decode() == said
            assert len(said or "") == 500
            assert said == message or len(message) > 500
            assert (said or "")[:9] == message[:9].replace("\x00", "\ufffd").replace("\ud800", "?")
            await lab.ends.of(dispatch)


@pytest.mark.parametrize("type_", ["parents", "thread_parents", "child_parents"])
async def test_every_kind_of_handler_knows_its_parents_in_their_order(type_: str) -> None:
    failed, done = str(new_job_id()), str(new_job_id())
    raw: list[dict[str, Any]] = [
        {"jobId": failed, "type": "b", "status": "failed", "error": {"message": "no", "type": "E"}},
        {"jobId": done, "type": "a", "status": "completed", "result": {"n": [1, "ä"]}, "newer": 1},
        {"jobId": str(new_job_id()), "type": "c", "status": "completed", "omitted": True},
    ]
    async with a_lab() as lab:
        outcome = await lab.ends.of(lab.start(type_, parents=raw))
        first, second, third = orjson.loads(outcome.result or b"null")
        assert first[1:] == [failed, "b", "failed", None, {"message": "no", "type": "E", "traceback": None}, False]
        assert second == [done, done, "a", "completed", {"n": [1, "ä"]}, None, False]
        assert third[4:] == [None, None, True]
        assert (await lab.run(type_)).result == b"[]"


async def test_parents_that_cannot_be_read_fail_who_looks_at_them() -> None:
    async with a_lab() as lab:
        outcome = await lab.ends.of(lab.start("parents", parents=[{"jobId": "?"}]))
        assert (outcome.status, outcome.error_type) == (ReportStatus.FAILED, "ValidationError")
        assert (await lab.ends.of(lab.start("amount", {"amount": 1}, parents=[{}]))).result == b"1"


async def test_a_stale_progress_stops_the_handler() -> None:
    async with a_lab() as lab:
        dispatch = lab.start("progress", {"steps": 1})
        await until(lambda: lab.ends.on_answer is not None)
        assert lab.ends.on_answer is not None
        lab.ends.on_answer(key_of(dispatch), "stale", None, NOTHING)
        assert (await lab.ends.of(dispatch)).status is ReportStatus.CANCELLED


async def test_a_child_process_runs_one_attempt_after_the_other() -> None:
    async with a_lab() as lab:
        results = [orjson.loads((await lab.run("child_pid", {"amount": n})).result or b"") for n in (1, 2)]
        assert [result["amount"] for result in results] == [1, 2]
        assert results[0]["pid"] == results[1]["pid"] != os.getpid()
        assert 0 < results[0]["remaining"] <= 30
        assert (await lab.run("child_async")).result == b'"async"'
        failed = await lab.run("child_raises")
        assert (failed.error_type, failed.error_message) == ("ValueError", "from the child")
        assert "child_raises" in (failed.traceback or "")
        assert (await lab.run("child_pid", {"amount": -1})).error_type == "invalid_payload"
    assert not psutil.pid_exists(results[0]["pid"])


@pytest.mark.parametrize(
    ("how", "said"), [("segfault", "killed by SIGSEGV"), ("kill", "killed by SIGKILL"), ("exit", "exit status 7")]
)
async def test_a_child_that_dies_is_a_failed_attempt_and_the_next_one_runs(how: str, said: str) -> None:
    async with a_lab() as lab:
        outcome = await lab.run("child_dies", {"how": how})
        assert (outcome.status, outcome.error_type, outcome.retryable) == (ReportStatus.FAILED, "process_died", True)
        assert said in (outcome.error_message or "")
        assert (await lab.run("child_pid", {"amount": 1})).status is ReportStatus.COMPLETED


async def test_an_idle_child_that_died_costs_no_attempt() -> None:
    async with a_lab() as lab:
        first = orjson.loads((await lab.run("child_pid", {"amount": 1})).result or b"")
        os.kill(first["pid"], signal.SIGKILL)
        assert (await lab.run("child_pid", {"amount": 2})).status is ReportStatus.COMPLETED


@pytest.mark.parametrize(
    ("timeout_s", "status"), [(30.0, ReportStatus.CANCELLED), (0.5, ReportStatus.TIMEOUT)], ids=["cancelled", "overdue"]
)
async def test_a_child_that_is_to_stop_is_killed_with_all_it_started(timeout_s: float, status: ReportStatus) -> None:
    async with a_lab() as lab:
        dispatch = lab.start("child_spins", timeout_s=timeout_s)
        await until(lambda: bool(lab.ends.progressed), timeout_s=10)
        pids = [int(pid) for pid in (lab.ends.progressed[0][1] or "").split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
        if status is ReportStatus.CANCELLED:
            lab.executor.cancel(dispatch.job_id)
        assert (await lab.ends.of(dispatch)).status is status
        await until(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
