"""One process kept running."""

import asyncio
import os
import signal
from typing import Final

import pytest

from distriqueue.local import pids
from distriqueue.local.child import Child, Program
from distriqueue.local.state import Condition
from tests.unit.local.conftest import DRAINS, STUBBORN, Halves, KeptLines, living, program, until

CRASHES: Final = "print('up', flush=True); raise SystemExit(3)"


def child_of(wanted: Program, lines: KeptLines) -> Child:
    return Child(wanted, lines=lines, changed=lambda: None, rng=Halves())


def pid_of(child: Child) -> int:
    process = child.state().process
    assert process is not None
    return process.pid


async def test_is_ready_at_its_line_and_drains(lines: KeptLines) -> None:
    async with living(child_of(program(DRAINS), lines)) as child:
        assert await child.settled()
        assert child.state().state is Condition.RUNNING
    assert child.state().state is Condition.STOPPED
    assert lines.of("gateway1") == ["up", "drained"]


async def test_a_killed_process_is_started_again(lines: KeptLines) -> None:
    async with living(child_of(program(DRAINS), lines)) as child:
        assert await child.settled()
        first = pid_of(child)
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.restarts == 1 and child.condition is Condition.RUNNING)
        assert pid_of(child) != first
    assert "[supervisor] was killed by SIGKILL; starts again in 0.2 s" in lines.of("gateway1")


async def test_one_that_crashes_again_and_again_is_given_longer_pauses(lines: KeptLines) -> None:
    async with living(child_of(program(CRASHES), lines)) as child:
        await until(lambda: child.restarts == 3)
    notes = [line for line in lines.of("gateway1") if line.startswith("[supervisor]")]
    assert [note.rpartition(" in ")[2] for note in notes] == ["0.2 s", "0.4 s", "0.8 s"]


async def test_a_stable_minute_forgives_former_crashes(lines: KeptLines) -> None:
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += 61.0
        return now_s

    child = Child(program(CRASHES), lines=lines, changed=lambda: None, rng=Halves(), clock=clock)
    async with living(child):
        await until(lambda: child.restarts == 3)
    notes = [line for line in lines.of("gateway1") if line.startswith("[supervisor]")]
    assert {note.rpartition(" in ")[2] for note in notes} == {"0.2 s"}


async def test_one_that_never_came_up_is_not_tried_again(lines: KeptLines) -> None:
    async with living(child_of(program("print('no such table'); raise SystemExit(3)"), lines)) as child:
        assert not await child.settled()
        assert child.condition is Condition.FAILED
        assert child.reason == "ended with exit code 3"
        assert list(child.tail) == ["no such table"]


async def test_one_that_is_not_ready_in_time_has_failed(lines: KeptLines) -> None:
    silent = "import signal; signal.pause()"
    async with living(child_of(program(silent, ready_s=0.2), lines)) as child:
        assert not await child.settled()
        assert child.reason == "not ready within 0.2 s"


async def test_one_that_does_not_drain_is_killed(lines: KeptLines) -> None:
    async with living(child_of(program(STUBBORN, drain_s=0.2), lines)) as child:
        assert await child.settled()
        process = pids.of(pid_of(child))
    assert not process.alive()
    assert "[supervisor] did not end within 0.2 s: killed" in lines.of("gateway1")


async def test_a_stop_ends_the_pause_before_a_restart(lines: KeptLines) -> None:
    async with living(child_of(program(CRASHES), lines)) as child:
        await until(lambda: child.restarts == 3)  # the pause is now 0.8 s
        async with asyncio.timeout(0.5):
            await child.stop()
    assert child.condition is Condition.STOPPED


async def test_what_a_process_left_in_its_group_ends_with_it(lines: KeptLines) -> None:
    leaves = (
        "import os, signal\npid = os.fork()\nif pid: print(pid, flush=True); print('up', flush=True)\nsignal.pause()"
    )
    async with living(child_of(program(leaves), lines)) as child:
        assert await child.settled()
        left = pids.of(int(lines.of("gateway1")[0]))
        os.kill(pid_of(child), signal.SIGKILL)
        await until(lambda: not left.alive())


async def test_a_line_without_end_is_cut(lines: KeptLines) -> None:
    endless = (
        "import sys; sys.stdout.write('x' * 200_000 + '\\nup\\n'); sys.stdout.flush(); import signal; signal.pause()"
    )
    async with living(child_of(program(endless), lines)) as child:
        assert await child.settled()
    *pieces, last = lines.of("gateway1")
    assert last == "up"
    assert "".join(pieces) == "x" * 200_000
    assert max(map(len, pieces)) <= 2 * 65_536


@pytest.mark.parametrize(("code", "well"), [("pass", True), ("raise SystemExit(1)", False)])
async def test_a_program_that_runs_once_is_judged_by_its_exit_code(code: str, well: bool, lines: KeptLines) -> None:
    async with living(child_of(program(code, once=True, ready_line=None), lines)) as child:
        assert await child.finished() is well
    assert child.restarts == 0
