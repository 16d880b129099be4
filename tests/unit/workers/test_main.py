"""The process: wrong settings, and that no child outlives it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from distriqueue.core.errors import BadSetting
from distriqueue.settings import BrokerSettings, TraceSettings, WebhookSettings, WorkerSettings
from tests.unit.workers import samples
from tests.unit.workers.fakes import FakeBroker, FakeGateway, FakeOrchestrator, dispatch_of, served
from workers import Registry, app
from workers.__main__ import load_registry
from workers.app import with_webhooks
from workers.handlers import default_registry

PARENT = """
    import asyncio
    from tests.unit.workers.fakes import dispatch_of
    from tests.unit.workers.samples import Gates, registry_with
    from workers.runtime.executor import Executor

    class Ends:
        def progress(self, key, percent, message, on_answer, **words):
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
        ((), {"DISTRIQUEUE_BROKER_URL": "amqp://x", "DISTRIQUEUE_WEBHOOK_SECRETS": "x"}, "DISTRIQUEUE_WEBHOOK_SECRETS"),
        (("tests.unit.workers.talkers:GREEDY",), {"DISTRIQUEUE_BROKER_URL": "amqp://x"}, "asks for db: Database"),
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


def test_every_worker_sends_webhooks_unless_its_registry_has_a_handler_for_them() -> None:
    mine = default_registry()
    complete = with_webhooks(mine, WebhookSettings.load())
    assert complete.types == ["calculate", "distriqueue.webhook", "transform", "validate"]
    assert mine.types == ["calculate", "transform", "validate"], "the user's registry is the user's"
    assert complete.get("validate") is mine.get("validate")
    assert with_webhooks(complete, WebhookSettings.load()) is complete


async def test_the_composed_worker_shows_its_key_and_refuses_unsigned_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, orchestrator, broker, stop = FakeGateway(), FakeOrchestrator(), FakeBroker(), asyncio.Event()
    monkeypatch.setattr(app, "connect", lambda *_args, **_how: contextlib.nullcontext(broker))
    monkeypatch.setattr(app, "stop_signal", lambda: contextlib.nullcontext(stop))
    monkeypatch.setattr(app, "_let_second_signal_kill", asyncio.Event.wait)
    payload = {"url": "http://127.0.0.1:1/", "id": "msg_1", "body": {}}
    async with served(gateway) as gateway_url, served(orchestrator) as orchestrator_url, asyncio.TaskGroup() as group:
        settings = WorkerSettings.load(
            gateway_url=gateway_url, orchestrator_urls=orchestrator_url, api_key="dq_key", worker_capacity=1
        )
        brokers = BrokerSettings.load(broker_url="amqp://nowhere")
        group.create_task(app.run(settings, brokers, WebhookSettings.load(), Registry(), TraceSettings.load()))
        webhook = dispatch_of("distriqueue.webhook", payload)
        await broker.publish([webhook])
        end = await gateway.end_of(webhook)
        stop.set()
    assert (end["status"], end["errorType"]) == ("failed", "webhook_not_configured")
    assert gateway.keys == orchestrator.keys == {b"Bearer dq_key"}
