"""Each example as its reader starts it, and workers in other languages that are killed, cut off and told to stop."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from distriqueue import Client, JobCancelled, JobFailed, JobTimedOut, NewJob, Status
from distriqueue.broker import topology
from distriqueue.core.job import new_job_id
from distriqueue.core.messages import (
    Answer,
    Dispatch,
    Heartbeat,
    HeartbeatAnswer,
    LogLine,
    Parent,
    Report,
    ReportAnswer,
    ReportStatus,
)
from distriqueue.local.ports import free_block
from distriqueue.local.stack import Stack
from distriqueue.local.state import Role
from distriqueue.sdk.job import Job
from tests.acceptance.foreign import EXAMPLES, PIKA, SHELL, Kind, ReplyThief, Scene, Worker, make_key
from tests.servers.process import private_env

pytestmark = pytest.mark.stack

PROTOCOL: Final = EXAMPLES.parent / "docs" / "wire-protocol.md"
ARGUMENTS: Final = (*topology.LANE_ARGUMENTS.items(), *topology.DEAD_ARGUMENTS.items())
RUN_S: Final = 110
END_S: Final = 60
PACKED: Final = 80
"""Jobs of one batch: messages of ten."""

SAID: Final = {
    "thumbnails": (("--pictures", "3"), ["3 thumbnails in", "text.png: text.png: this is no PNG"]),
    "nightly_cron": ((), ["nightly-report, '30 2 * * *' in Europe/Berlin", "03:00 CEST", "between fires: [2.0, 2.0]"]),
    "map_reduce": ((), ["jobs submitted together", "the same"]),
    "webhook_receiver": ((), ["503 come again", "200 known", "401", "3 taken, 1 known already, 1 forged"]),
    "rate_limited_api": (("--calls", "24"), ["0 refusals", "no refusal with the limit"]),
    "pika_worker": ((), [" 9592 primes below 100000: attempt 2", "goes on at", "all as it should be"]),
    "curl_worker": ((), ["attempt 2", "all as it should be"]),
}
"""What an example is told, and what it must say."""


RUNNABLE: Final = [pytest.param(name, marks=[pytest.mark.rabbitmq] if name == "pika_worker" else []) for name in SAID]


def run(name: str, *arguments: str, scratch: Path) -> "subprocess.CompletedProcess[str]":
    """Run an example elsewhere than where it is, as by a stranger's shell."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=private_env(TMPDIR=str(scratch), HOME=str(scratch)),
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )


def processes_of(scratch: Path) -> list[str]:
    """Return what runs with a file of the directory in its command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return [line for line in found if str(scratch) in line]


def test_every_example_is_tested_and_explained() -> None:
    folders = {each.name for each in EXAMPLES.iterdir() if each.is_dir() and not each.name.startswith((".", "_"))}
    assert folders == set(SAID)
    listed = (EXAMPLES / "README.md").read_text()
    for name in folders:
        assert f"[{name}]({name}/)" in listed
        assert f".venv/bin/python examples/{name}" in (EXAMPLES / name / "README.md").read_text()


@pytest.mark.parametrize("name", SAID)
def test_an_example_explains_itself(name: str, tmp_path: Path) -> None:
    done = run(name, "--help", scratch=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 30, done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", RUNNABLE)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    arguments, expected = SAID[name]
    out = ("--out", str(tmp_path / "out")) if name == "thumbnails" else ()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run(name, *arguments, *out, scratch=scratch)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    missing = [words for words in expected if words not in done.stdout + done.stderr]
    assert missing == []
    assert processes_of(scratch) == []
    left = [each.name for each in scratch.iterdir()]
    assert left == []
    if out:
        assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [f"picture{n}.png" for n in (1, 2, 3)]


def test_the_protocol_page_speaks_of_what_is_sent() -> None:
    page = PROTOCOL.read_text()
    lines = [line for line in page.replace("01a2…", str(new_job_id())).splitlines() if line.startswith(("{", "→", "←"))]
    dispatch, claim, claimed, beat, heard = (line.lstrip("→← ") for line in lines)
    assert Dispatch.decode(dispatch.encode()).encode().decode() == dispatch
    assert Report.model_validate_json(claim).status is ReportStatus.RUNNING
    assert ReportAnswer.model_validate_json(claimed).answer is Answer.ACCEPTED
    for model, example in ((Heartbeat, beat), (HeartbeatAnswer, heard)):
        assert json.loads(model.model_validate_json(example).model_dump_json(by_alias=True)) == json.loads(example)
    words = {field.alias for model in (Report, LogLine, Parent) for field in model.model_fields.values()}
    words |= {*ReportStatus, *Answer, *(lane.queue for lane in topology.LANES), topology.EXCHANGE}
    words |= {f"{name}: {value}" for name, value in ARGUMENTS if value != ""}
    assert [word for word in sorted(filter(None, words)) if word not in page] == []


# ----------------------------------------------------------------------------------------------- workers of other kinds


@pytest.fixture(
    scope="module", params=[SHELL, pytest.param(PIKA, marks=pytest.mark.rabbitmq)], ids=lambda kind: kind.name
)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A stack without workers, on the broker that the kind of worker reads."""
    kind: Kind = request.param
    broker_url = request.getfixturevalue("rabbitmq_server").url if kind is PIKA else None
    home = tmp_path_factory.mktemp(kind.name)
    with (
        Stack.start(home / "stack", workers=0, broker_url=broker_url) as stack,
        Client(stack.gateway_urls[0], api_key=make_key(stack)) as client,
    ):
        yield Scene(kind, stack, client, home)


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, *, timeout_s: float = 20.0) -> None:
    """Look again and again, where nothing signals it."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = await asyncio.to_thread(condition)
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        await asyncio.sleep(0.05)


def quick(scene: Scene) -> Job:
    return scene.client.submit(scene.kind.type, scene.kind.quick)


def in_the_middle(scene: Scene, worker: Worker, **options: int) -> Job:
    """Submit a slow job, and return it when the worker has told of its progress."""
    job = scene.client.submit(scene.kind.type, scene.kind.slow, execution_timeout=options.get("timeout_s", 60))
    for event in job.events():
        if event.progress and event.progress > 2:
            worker.remember()
            return job
    raise AssertionError(f"the job has ended too soon: {job.refresh()}")


def ended(job: Job, *, timeout_s: float = END_S) -> tuple[Status | None, int, int, int]:
    """Return how it ended: status, attempt, losses, failures."""
    found = job.wait(timeout=timeout_s).snapshot
    assert found is not None
    return found.status, found.attempt, found.losses, found.failures


def test_packs_are_run_job_by_job_and_once(scene: Scene) -> None:
    with scene.worker() as first, scene.worker() as second:
        batch = scene.client.submit_many([NewJob(scene.kind.type, scene.kind.quick)] * PACKED)
        jobs = [job for job in batch.jobs if job is not None]
        assert Counter(map(ended, jobs)) == {(Status.COMPLETED, 1, 0, 0): PACKED}
        by = Counter(job.snapshot.worker_id for job in jobs if job.snapshot)
    print(f"{PACKED} jobs: {dict(by)}")
    assert len(by) == 2, "one worker had all of them"
    assert not first.said("stale"), "it ran what it was refused"
    assert not second.said("stale"), "it ran what it was refused"


def test_a_job_of_a_killed_worker_runs_again(scene: Scene) -> None:
    with scene.worker() as first:
        job = in_the_middle(scene, first)
        first.kill()
        killed_s = time.monotonic()
        with scene.worker():
            assert ended(quick(scene))[:2] == (Status.COMPLETED, 1)
            assert ended(job) == (Status.COMPLETED, 2, 1, 0)
        print(f"ended {time.monotonic() - killed_s:.1f} s after the kill")
        assert first.left() == [], "something of the killed worker lives on"


async def test_what_a_killed_worker_has_taken_and_not_claimed_is_not_lost(scene: Scene) -> None:
    nowhere = f"http://127.0.0.1:{free_block()}"
    with scene.worker(GATEWAY_URL=nowhere) as first:
        job = await asyncio.to_thread(quick, scene)

        async def is_taken() -> bool:
            return await scene.held() == (0 if scene.kind is PIKA else 1)

        await until(lambda: first.said("running of" if scene.kind is PIKA else "no answer of"), "a claim that waits")
        await until(is_taken, "the message to be taken")
        assert (await asyncio.to_thread(job.refresh)).status in (Status.PENDING, Status.QUEUED)
        await asyncio.to_thread(first.kill)
    with scene.worker():
        # Sooner than the reconciler would send it again.
        assert await asyncio.to_thread(ended, job, timeout_s=12) == (Status.COMPLETED, 1, 0, 0)


def test_lost_answers_double_nothing(scene: Scene) -> None:
    with ReplyThief(scene.stack.gateway_urls[0]).serving() as thief, scene.worker(GATEWAY_URL=thief.url):
        jobs = [quick(scene) for _ in range(3)]
        assert {ended(job) for job in jobs} == {(Status.COMPLETED, 1, 0, 0)}
        assert thief.stolen == {"running", "completed"}


def test_an_end_waits_for_a_gateway_that_is_away(scene: Scene) -> None:
    with scene.worker() as worker:
        job = in_the_middle(scene, worker)
        old = scene.stack.pids(Role.GATEWAY)[0]
        os.kill(old, signal.SIGKILL)
        scene.stack.replaced(Role.GATEWAY, old)
        assert ended(job) == (Status.COMPLETED, 1, 0, 0)


def test_a_cancelled_job_stops(scene: Scene) -> None:
    with scene.worker() as worker:
        job = in_the_middle(scene, worker)
        job.cancel()
        began_s = time.monotonic()
        with pytest.raises(JobCancelled):
            job.result(timeout=END_S)
        assert time.monotonic() - began_s < 4, "nobody told the worker"
        assert ended(quick(scene))[0] is Status.COMPLETED


def test_a_job_that_takes_too_long_is_ended_by_its_worker(scene: Scene) -> None:
    with scene.worker():
        job = scene.client.submit(scene.kind.type, scene.kind.slow, execution_timeout=1, max_retries=0)
        with pytest.raises(JobTimedOut, match="no end within 1"):
            job.result(timeout=8)  # the leader would wait for ten seconds more


def test_an_unknown_type_and_a_wrong_payload_fail(scene: Scene) -> None:
    with scene.worker():
        unknown = scene.client.submit("../nothing", {})
        wrong = scene.client.submit(scene.kind.type, {"text": 'with "quotes"\n', "below": "none"}, max_retries=0)
        with pytest.raises(JobFailed) as of_unknown:
            unknown.result(timeout=END_S)
        with pytest.raises(JobFailed) as of_wrong:
            wrong.result(timeout=END_S)
    assert of_unknown.value.error_type == "unknown_job_type"
    assert scene.kind.type in (of_unknown.value.error or "")
    assert of_wrong.value.error_type in {"ValueError", "exit_65"}


def test_a_worker_that_is_told_to_stop_gives_its_job_back(scene: Scene) -> None:
    with scene.worker(WORKER_DRAIN="0") as first:
        job = in_the_middle(scene, first)
        assert first.stop() == 0
        assert first.left() == []
    with scene.worker():
        assert ended(job) == (Status.COMPLETED, 2, 0, 0)  # neither lost nor failed


async def test_a_message_that_cannot_be_read_is_a_dead_letter(scene: Scene) -> None:
    before = await scene.dead()
    bodies = [b"no json", b'{"v":2,"payload":{}}', b'{"v":1,"payload":[],"jobId":"1"}', b"\xff\xfe"]
    for body in bodies:
        await scene.send(body)
    with scene.worker():
        job = await asyncio.to_thread(quick, scene)
        assert await asyncio.to_thread(ended, job) == (Status.COMPLETED, 1, 0, 0)

        async def are_dead() -> bool:
            return await scene.dead() == before + len(bodies)

        await until(are_dead, "the dead letters")
