import asyncio
import socket

import pytest

from distriqueue.core.errors import BadSetting, StoreUnavailable
from distriqueue.lifecycle import first_of, listen, require_loopback, run_every, wait_for


@pytest.mark.parametrize(
    ("host", "insecure"), [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_loopback_is_served_and_the_world_when_told(host: str, insecure: bool) -> None:
    require_loopback(host, insecure=insecure, setting="DISTRIQUEUE_GATEWAY_HOST")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_the_world_is_refused(host: str) -> None:
    with pytest.raises(BadSetting, match="DISTRIQUEUE_GATEWAY_HOST"):
        require_loopback(host, insecure=False, setting="DISTRIQUEUE_GATEWAY_HOST")


def test_a_taken_port_is_named_with_the_setting_to_change() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BadSetting, match=rf"127\.0\.0\.1:{port} .*set SOME_PORT"):
            listen("127.0.0.1", port, setting="SOME_PORT")


async def test_a_loop_runs_again_at_once_while_there_is_more_and_then_rests() -> None:
    stop, wake = asyncio.Event(), asyncio.Event()
    steps: list[int] = []

    async def step() -> bool:
        steps.append(len(steps))
        if len(steps) == 5:
            stop.set()
        return True

    async with asyncio.timeout(5):
        await run_every(3600.0, step, name="test", stop=stop, wake=wake)
    assert steps == [0, 1, 2, 3, 4]


async def test_a_wake_ends_the_rest() -> None:
    stop, wake, ran = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step() -> bool:
        ran.set()
        return False

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(run_every(3600.0, step, name="test", stop=stop, wake=wake))
        await ran.wait()
        ran.clear()
        wake.set()
        await ran.wait()
        stop.set()


async def test_an_outage_is_outlived_and_a_bug_is_not() -> None:
    stop = asyncio.Event()
    outcomes: list[Exception] = [StoreUnavailable("away"), StoreUnavailable("away"), RuntimeError("a bug")]

    async def step() -> bool:
        raise outcomes.pop(0)

    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="a bug"):
            await run_every(0.01, step, name="test", stop=stop)
    assert outcomes == []


async def test_waiting_ends_with_the_first_event_or_the_time() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    assert not await wait_for(first, 0.01)
    await first_of(first, second, timeout_s=0.01)
    second.set()
    async with asyncio.timeout(5):
        await first_of(first, second)
    assert not first.is_set()
