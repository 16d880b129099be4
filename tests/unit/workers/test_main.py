"""The process: wrong settings, and that no child outlives it."""

import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from distriqueue.core.errors import BadSetting
from tests.unit.workers import samples
from workers.__main__ import load_registry

PARENT = """
    import asyncio
    from tests.unit.workers.fakes import dispatch_of
    from tests.unit.workers.samples import Gates, registry_with
    from workers.runtime.executor import Executor

    class Ends:
        def progress(self, key, percent, message, on_answer):
            print(message, flush=True)
        def end(self, key, outcome):
            print("ended", outcome, flush=True)

    async def main():
        async with asyncio.TaskGroup() as group:
            executor = Executor(registry_with(Gates()), Ends(), group=group, capacity=2)
            executor.start(dispatch_of("child_spins"), print)
            await asyncio.sleep(60)

    asyncio.run(main())
"""


def start(*arguments: str, **env: str) -> "subprocess.Popen[str]":
    """Start a Python process with nothing of our settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DISTRIQUEUE_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=clean | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_sigkilled_worker_leaves_no_child_however_busy() -> None:
    with start("-c", textwrap.dedent(PARENT)) as parent:
        try:
            assert parent.stdout is not None
            child, grandchild = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
        finally:
            parent.send_signal(signal.SIGKILL)
            parent.wait(timeout=10)
    try:
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    finally:
        grandchild.kill()


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        ((), {}, "DISTRIQUEUE_BROKER_URL"),
        ((), {"DISTRIQUEUE_WORKER_CAPACITY": "0"}, "DISTRIQUEUE_WORKER_CAPACITY"),
        ((), {"DISTRIQUEUE_BROKER_URL": "http://x"}, "DISTRIQUEUE_BROKER_URL"),
        (("no.such:registry",), {"DISTRIQUEUE_BROKER_URL": "amqp://x"}, "no.such"),
    ],
)
def test_a_wrong_setting_ends_the_start_and_is_named(
    arguments: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    with start("-m", "workers", *arguments, **env) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_a_registry_or_a_function_that_makes_one_is_taken() -> None:
    assert load_registry("tests.unit.workers.samples:PROCESSES") is samples.PROCESSES
    assert load_registry("workers.handlers:default_registry").types == ["calculate", "transform", "validate"]
    with pytest.raises(BadSetting, match="no Registry"):
        load_registry("workers.handlers.calculate:MAX_NUMBERS")
