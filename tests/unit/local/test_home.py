"""The directory of a stack: lock, secrets, state, and the pids in it."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from distriqueue.core.errors import BadSetting, Conflict, DistriQueueError
from distriqueue.local import control, pids, state
from distriqueue.local.home import Home
from distriqueue.local.state import Condition, Phase, ProcessState, Role, StackState


def stack_state(home: Home, **changes: object) -> StackState:
    given: dict[str, object] = {
        "phase": Phase.READY,
        "home": str(home.path),
        "mark": "none has this mark",
        "supervisor": pids.own(),
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return StackState(**given | changes)  # type: ignore[arg-type]


def test_a_home_is_for_one_stack(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "a home")
    with home.lock(), pytest.raises(Conflict, match=r"already runs in .*a home: `distriqueue down --home '.*a home'`"):
        home.lock().__enter__()
    with home.lock():
        pass


def test_a_home_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="choose another place with --home"):
        Home.at(tmp_path / "file" / "home")


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    secret = home.secret("word")
    assert len(secret) >= 24
    assert home.secret("word") == secret
    assert stat.S_IMODE((tmp_path / "word").stat().st_mode) == 0o600


def test_the_state_file_gives_back_what_was_written(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    process = ProcessState(Role.WORKER, "worker1", Condition.RUNNING, pids.own(), restarts=2)
    written = stack_state(home, processes=(process,), database_url="postgresql://u:secret@h/d")
    state.write(home.state, written)
    assert state.read(home.state) == written
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if "part" in each.name] == []


def test_a_state_of_another_version_is_read_or_refused_with_its_name(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    state.write(home.state, stack_state(home))
    text = home.state.read_text(encoding="utf-8")
    home.state.write_text(text.replace('"phase"', '"newer": 1, "phase"'), encoding="utf-8")
    assert state.read(home.state) == stack_state(home)
    home.state.write_text("{}", encoding="utf-8")
    with pytest.raises(DistriQueueError, match=r"state\.json cannot be read"):
        state.read(home.state)


def test_a_recycled_pid_is_neither_alive_nor_signalled(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        real = pids.of(other.pid)
        assert real.alive()
        recycled = pids.Pid(other.pid, "born earlier")
        assert not recycled.alive()
        assert not recycled.send(signal.SIGKILL)
        home = Home.at(tmp_path)
        process = ProcessState(Role.WORKER, "worker1", Condition.RUNNING, recycled)
        former = stack_state(home, supervisor=recycled, processes=(process,))
        state.write(home.state, former)
        assert not control.stop(home, announce=lambda _: None)
        assert real.alive()
        assert real.send(signal.SIGTERM)
    assert not real.alive()


def test_a_killed_supervisor_makes_its_stack_lost(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    gone = pids.Pid(os.getpid(), "born earlier")
    processes = (
        ProcessState(Role.GATEWAY, "gateway1", Condition.RUNNING, pids.own()),
        ProcessState(Role.WORKER, "worker1", Condition.RUNNING, gone),
    )
    state.write(home.state, stack_state(home, supervisor=gone, processes=processes))
    seen = control.view(home)
    assert seen is not None
    assert seen.phase is Phase.LOST
    assert [each.state for each in seen.processes] == [Condition.RUNNING, Condition.LOST]
