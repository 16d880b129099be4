"""What other processes do to a stack: start it detached, stop it, clean up after it, look at it."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Final

from distriqueue.core.errors import BadSetting, DistriQueueError
from distriqueue.local import pids, state
from distriqueue.local.home import Home
from distriqueue.local.logs import Follow, last_lines
from distriqueue.local.plan import Options
from distriqueue.local.state import Condition, Phase, Role, StackState

_POLL_S: Final = 0.05
_KILL_S: Final = 10.0
_POSTGRES_S: Final = 60.0
_STOP_S: Final = 180.0
"""Longer than every drain together: the supervisor itself kills what does not drain."""
ERROR_PREFIX: Final = "error: "
EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
Announce = Callable[[str], None]


class NotStarted(DistriQueueError):
    """A detached stack did not come up; `tail` is the end of the log that tells why."""

    code = "not_started"

    def __init__(self, message: str, *, tail: list[str], status: int) -> None:
        super().__init__(message)
        self.tail = tail
        self.status = status


def exit_code(error: DistriQueueError) -> int:
    """Return the exit code that stands for the error: 2 for a wrong use or setting, 1 for a failure."""
    if isinstance(error, NotStarted):
        return error.status
    return EXIT_USAGE if isinstance(error, BadSetting) else EXIT_FAILURE


def start(
    options: Options,
    *,
    announce: Announce,
    env: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a supervisor of its own session and return it once its stack is ready; NotStarted says why it is not."""
    home = Home.at(Path(options.home))
    log = home.log_of("supervisor")
    follow = Follow(log)
    with log.open("ab") as out:
        supervisor = subprocess.Popen(
            [sys.executable, "-P", "-m", "distriqueue.local"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env=env,
            start_new_session=True,
        )
    try:
        _hand_over(options, supervisor.stdin)
        _until_ready(supervisor, home, follow, announce)
    except BaseException:
        # Ours until it is ready: an interrupted start leaves nothing behind.
        supervisor.terminate()
        supervisor.wait(_STOP_S)
        raise
    return supervisor


def _hand_over(options: Options, to: IO[bytes] | None) -> None:
    """Over the pipe and not as arguments: addresses carry passwords, and everyone sees arguments."""
    if to is None:
        return
    with contextlib.suppress(BrokenPipeError):
        to.write(json.dumps(asdict(options)).encode() + b"\n")
        to.flush()
        if not options.tied:
            to.close()


def _until_ready(supervisor: "subprocess.Popen[bytes]", home: Home, follow: Follow, announce: Announce) -> None:
    while True:
        ended = supervisor.poll()
        for line in follow.lines():
            if not line.startswith(ERROR_PREFIX):
                announce(line)
        current = state.read(home.state)
        own = current is not None and current.supervisor.pid == supervisor.pid
        if current is not None and own and current.phase is Phase.READY:
            return
        if ended is not None:
            raise _why(home, current if own else None, ended)
        time.sleep(_POLL_S)


def _why(home: Home, ended: StackState | None, status: int) -> NotStarted:
    if ended is not None and ended.error is not None:
        tail = last_lines(home.log_of(ended.failed)) if ended.failed else []
        return NotStarted(ended.error, tail=tail, status=status)
    tail = last_lines(home.log_of("supervisor"))
    if tail and tail[-1].startswith(ERROR_PREFIX):
        return NotStarted(tail[-1].removeprefix(ERROR_PREFIX), tail=[], status=status)
    return NotStarted("the stack was stopped while it started", tail=tail, status=status or 1)


def stop(home: Home, *, announce: Announce, timeout_s: float = _STOP_S) -> bool:
    """Stop the stack of this home and wait until no process of it is left; False when none ran."""
    current = state.read(home.state)
    if current is None:
        return False
    follow = Follow(home.log_of("supervisor"))
    if current.supervisor.send(signal.SIGTERM):
        deadline_s = time.monotonic() + timeout_s
        while current.supervisor.alive() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
            for line in follow.lines():
                announce(line)
        if current.supervisor.send(signal.SIGKILL):
            announce("the supervisor did not end in time: killed")
        ran = True
    else:
        ran = bool(_left(current))
    current = state.read(home.state) or current
    clean_up(home, current, announce)
    return ran


def clean_up(home: Home, former: StackState, announce: Announce) -> None:
    """End whatever is left of a stack whose supervisor is gone: services at once, Postgres in order."""
    postgres = tuple(each.process for each in former.of(Role.POSTGRES) if each.process is not None)
    left = _left(former)
    if left:
        announce(f"ending {len(left)} processes that an earlier stack left")
    _end((each for each in left if each not in postgres), signal.SIGKILL, _KILL_S)
    if not _end(postgres, signal.SIGINT, _POSTGRES_S):
        _end(postgres, signal.SIGKILL, _KILL_S)
    remaining = _left(former)
    if remaining:
        which = ", ".join(str(each.pid) for each in remaining)
        raise DistriQueueError(f"processes of an earlier stack in {home.path} do not end: {which}; end them first")
    if former.phase not in {Phase.STOPPED, Phase.FAILED}:
        state.write(home.state, replace(former, phase=Phase.STOPPED, processes=()))


def view(home: Home) -> StackState | None:
    """Return the state as it is now: what a killed supervisor could not write is told `lost`."""
    current = state.read(home.state)
    if current is None or current.phase in {Phase.STOPPED, Phase.FAILED} or current.supervisor.alive():
        return current
    processes = tuple(
        each if each.process is not None and each.process.alive() else replace(each, state=Condition.LOST)
        for each in current.processes
    )
    return replace(current, phase=Phase.LOST, processes=processes)


def _left(former: StackState) -> tuple[pids.Pid, ...]:
    recorded = (each.process for each in former.processes if each.process is not None)
    return tuple({each for each in (*recorded, *pids.with_mark(former.mark)) if each.alive()})


def _end(processes: Iterable[pids.Pid], signum: signal.Signals, timeout_s: float) -> bool:
    """Signal these and wait for them; tell whether all are gone."""
    sent = [each for each in processes if each.send(signum)]
    deadline_s = time.monotonic() + timeout_s
    while any(each.alive() for each in sent) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return not any(each.alive() for each in sent)
