"""Jobs in this process, as a user's own tests run them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from distriqueue import Client, Conflict, Discard, InvalidRequest, JobCancelled, JobFailed, NotFound, Retry, Status
from distriqueue.core.errors import DistriQueueError
from distriqueue.core.job import new_job_id
from distriqueue.testing import (
    LocalClient,
    LocalContext,
    NewJob,
    assert_submitted,
    run_until_idle,
    run_until_idle_async,
)
from distriqueue.testing import runner as runner_module
from workers import JobCancelled as AskedToStop
from workers import JobContext
from workers.handlers.registry import Registry
from workers.runtime.context import AttemptContext
from workers.runtime.retries import Retries


class Resize(BaseModel):
    width: int


class Database:
    """Something that handlers ask for by type."""

    opened = 0

    def __init__(self) -> None:
        self.rows: list[int] = []


@contextlib.asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    Database.opened += 1
    yield Database()


registry = Registry()
registry.provide(Database, open_database)


@registry.handler("resize")
async def resize(payload: Resize) -> dict[str, int]:
    """Make it smaller."""
    await asyncio.sleep(0)
    return {"width": payload.width}


@registry.handler("resize_in_a_thread", kind="thread")
def resize_in_a_thread(payload: Resize, ctx: JobContext) -> dict[str, int]:
    """Block."""
    ctx.progress(50, "half")
    ctx.log.info("resizing", width=payload.width)
    return {"width": payload.width, "attempt": ctx.attempt}


@registry.handler("fail")
async def fail(payload: dict[str, Any], ctx: JobContext) -> int:
    """Fail so many times."""
    if ctx.attempt <= payload["times"]:
        raise OSError(f"attempt {ctx.attempt}")
    return ctx.attempt


@registry.handler("picky", retry=Retries(on=(ConnectionError,)))
async def picky(payload: dict[str, Any], ctx: JobContext) -> None:
    """Fail in a way that another attempt helps, or in one that none does."""
    raise ConnectionError("again") if ctx.attempt < 2 else ValueError("never")


@registry.handler("signal")
async def signal(payload: dict[str, Any]) -> None:
    """Steer its own job."""
    raise Discard("not wanted") if payload.get("discard") else Retry("later", delay_s=1000)


@registry.handler("sum")
async def sum_of_parents(payload: dict[str, Any], ctx: JobContext) -> int:
    """Add what the parents made."""
    return sum(parent.result["width"] for parent in ctx.parents.values() if parent.result is not None)


@registry.handler("store")
async def store(payload: dict[str, Any], *, db: Database, ctx: JobContext) -> int:
    """Use what is provided."""
    assert ctx.attempt == 1
    db.rows.append(payload["n"])
    return len(db.rows)


@registry.handler("slow")
async def slow(payload: dict[str, Any]) -> None:
    """Take too long."""
    await asyncio.sleep(60)


@registry.handler("odd")
async def odd(payload: dict[str, Any]) -> object:
    """Return what is no JSON."""
    return object()


def test_jobs_run_and_give_their_results() -> None:
    first, second = run_until_idle(
        registry, NewJob(resize, Resize(width=80)), NewJob("resize_in_a_thread", {"width": 8})
    )
    assert first.result() == {"width": 80}
    assert second.result() == {"width": 8, "attempt": 1}
    assert second.steps == ((50.0, "half"),)
    assert second.logs == ({"event": "resizing", "level": "info", "width": 8},)
    assert [event.status.value for event in first.events()] == ["pending", "running", "completed"]


async def test_jobs_run_in_the_loop_that_runs() -> None:
    (job,) = await run_until_idle_async(registry, NewJob(resize, Resize(width=80)))
    assert job.result() == {"width": 80}
    with pytest.raises(DistriQueueError, match="await run_until_idle_async"):
        run_until_idle(registry, NewJob(resize, Resize(width=80)))


def test_failures_are_tried_again_as_often_as_the_job_says() -> None:
    passing, failing = run_until_idle(registry, NewJob(fail, {"times": 2}), NewJob(fail, {"times": 2}, max_retries=1))
    assert (passing.result(), passing.job.failures) == (3, 2)
    assert failing.status is Status.FAILED
    with pytest.raises(JobFailed, match="OSError: attempt 2") as raised:
        failing.result()
    assert isinstance(raised.value.__cause__, OSError)
    assert "in fail" in str(raised.value.traceback)


def test_signals_and_policies_steer_a_job() -> None:
    discarded, retried, refused = run_until_idle(
        registry, NewJob(signal, {"discard": True}), NewJob(signal, {}, max_retries=2), NewJob(picky, {})
    )
    assert (discarded.job.failures, discarded.job.attempt, str(discarded.error)) == (1, 1, str(discarded.error))
    assert discarded.error is not None
    assert (discarded.error.type, discarded.error.message) == ("discard", "not wanted")
    assert (retried.status, retried.job.attempt) == (Status.FAILED, 3)
    assert refused.error is not None
    assert (refused.error.type, refused.job.attempt) == ("ValueError", 2)


def test_what_cannot_run_fails_by_the_workers_names() -> None:
    wrong, unknown, odd_one = run_until_idle(
        registry, NewJob("resize", {"width": "wide"}), NewJob("nobody"), NewJob(odd, {})
    )
    found = [(job.status, job.error.type if job.error else "", job.job.attempt) for job in (wrong, unknown, odd_one)]
    assert found == [(Status.FAILED, kind, 1) for kind in ("invalid_payload", "unknown_job_type", "result_not_json")]


def test_an_attempt_that_takes_too_long_times_out() -> None:
    (job,) = run_until_idle(registry, NewJob(slow, {}, execution_timeout=0.01, max_retries=1))
    assert (job.status, job.job.attempt) == (Status.TIMEOUT, 2)


def test_a_job_waits_for_its_parents_and_gets_their_results() -> None:
    first, second = uuid4(), uuid4()
    total, *_ = run_until_idle(
        registry,
        NewJob(sum_of_parents, {}, priority="critical", depends_on=[first, second]),
        NewJob(resize, Resize(width=1), id=first),
        NewJob(resize, Resize(width=2), id=second, schedule_at=datetime.now(UTC) + timedelta(days=365)),
    )
    assert total.result() == 3


def test_a_job_of_a_failed_parent_is_cancelled_unless_it_runs_anyway() -> None:
    parent = uuid4()
    _, cancelled, after_that, anyway = run_until_idle(
        registry,
        NewJob(fail, {"times": 9}, id=parent, max_retries=0),
        NewJob(resize, Resize(width=1), depends_on=[parent], id=(child := uuid4())),
        NewJob(resize, Resize(width=1), depends_on=[child]),
        NewJob(sum_of_parents, {}, depends_on=[parent], on_parent_failure="run"),
    )
    assert (cancelled.status, after_that.status, anyway.result()) == (Status.CANCELLED, Status.CANCELLED, 0)
    with pytest.raises(JobCancelled, match=str(parent)):
        cancelled.result()


def test_what_is_provided_is_opened_once_a_run() -> None:
    before = Database.opened
    jobs = run_until_idle(registry, *(NewJob(store, {"n": n}) for n in range(3)))
    assert [job.result() for job in jobs] == [1, 2, 3]
    assert Database.opened == before + 1


def test_the_urgent_lane_goes_first() -> None:
    order: list[str] = []
    own = Registry()

    @own.handler("note")
    def note(payload: dict[str, Any]) -> None:
        order.append(payload["lane"])

    run_until_idle(
        own, *(NewJob(note, {"lane": lane}, priority=lane) for lane in ("low", "high", "medium", "critical"))
    )
    assert order == ["critical", "high", "medium", "low"]


def test_an_attempt_resumes_from_the_checkpoint_of_the_one_before() -> None:
    own = Registry()

    @own.handler("count")
    def count(payload: dict[str, Any], ctx: Any) -> int:
        so_far = ctx.resume or 0
        ctx.checkpoint(so_far + 1)
        if so_far < 2:
            raise OSError
        return int(so_far)

    (job,) = run_until_idle(own, NewJob("count"))
    assert job.result() == 2


def test_jobs_that_make_jobs_for_ever_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "MOST_ATTEMPTS", 20)
    own = Registry()
    client = LocalClient(own)

    @own.handler("more")
    async def more(payload: dict[str, Any]) -> None:
        client.submit("more")

    client.submit("more")
    with pytest.raises(AssertionError, match="not idle after 20 attempts"):
        client.run_until_idle()


def order_thumbnails(client: Client, width: int) -> None:
    """The code under test: it knows a client, and nothing of tests."""
    job = client.submit(resize, Resize(width=width), priority="high", tags=["thumbnail", "shop"])
    client.submit("sum", {}, depends_on=[job], unique_key=f"sum of {width}", on_conflict="return_existing")


def test_what_was_submitted_can_be_asserted_and_run() -> None:
    client = LocalClient(registry)
    order_thumbnails(client, 80)
    (job,) = assert_submitted(client, resize, {"width": 80}, priority="high", tags=["shop"], times=1)
    assert_submitted(client, "sum")
    assert_submitted(client, resize, {"width": 81}, times=0)
    with pytest.raises(AssertionError, match=r"\{'width': 81\}.* 0 found; .*with payload: \{'width': 80\}"):
        assert_submitted(client, resize, {"width": 81})
    with pytest.raises(AssertionError, match=r"2 jobs .* 1 found"):
        assert_submitted(client, resize, times=2)
    with pytest.raises(AssertionError, match="no job of type 'fail' was submitted"):
        assert_submitted(client, fail)
    with pytest.raises(AssertionError):
        assert_submitted(client, resize, {"width": 80}, priority="low")
    with pytest.raises(TypeError, match="prioritee"):
        assert_submitted(client, resize, prioritee="low")
    client.run_until_idle()
    assert (job.result(), client.jobs[1].result()) == ({"width": 80}, 80)


def test_keys_count_once() -> None:
    client = LocalClient(registry)
    order_thumbnails(client, 80)
    order_thumbnails(client, 80)
    assert_submitted(client, "sum", times=1)
    assert client.submit("sum", idempotency_key="k") == client.submit("sum", idempotency_key="k")
    client.submit("sum", unique_key="u")
    with pytest.raises(Conflict, match="uniqueKey 'u'"):
        client.submit("sum", unique_key="u")


def test_a_client_in_memory_is_one_in_all_else() -> None:
    with LocalClient(registry) as client:
        batch = client.submit_many([NewJob(resize, {"width": n}) for n in range(3)], sequential=True)
        assert [job.result() for job in batch.jobs if job is not None] == [{"width": n} for n in range(3)]
        assert client.get_batch(str(batch.id)).by_status == {"completed": 3}
        assert list(client.map(resize, [Resize(width=n) for n in range(3)])) == [{"width": n} for n in range(3)]
        assert [type(each) for each in client.map(fail, [{"times": 9}], return_exceptions=True)] == [JobFailed]
        with pytest.raises(JobFailed):
            list(client.map("fail", [{"times": 9}]))
        page = client.list(size=5, type=["resize", "fail"])
        assert (len(page.jobs), page.total, page.next_cursor) == (5, 8, "5")
        assert len(client.list(cursor="5", type=["resize", "fail"]).jobs) == 3
        assert {job.type for job in client.iterate(status="failed")} == {"fail"}
        job = client.submit(resize, Resize(width=1))
        assert client.cancel(job).status is Status.CANCELLED
        with pytest.raises(Conflict):
            job.cancel()
        assert client.get(job.id).retry().result() == {"width": 1}
        assert [event.status.value for event in client.events(type="resize")][-1] == "completed"
        with pytest.raises(NotFound):
            client.get(uuid4())
        with pytest.raises(InvalidRequest, match="there is no job"):
            client.submit("sum", depends_on=[uuid4()])


def test_a_failed_batch_stops() -> None:
    client = LocalClient(registry)
    jobs = [NewJob(fail, {"times": 9}, max_retries=0, priority="high"), NewJob(resize, {"width": 1})]
    first, second = client.submit_many(jobs, stop_on_failure=True).jobs
    client.run_until_idle()
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (Status.FAILED, Status.CANCELLED)


def test_without_a_registry_jobs_are_only_kept() -> None:
    client = LocalClient()
    job = client.submit(resize, Resize(width=1))
    assert_submitted(client, resize)
    with pytest.raises(DistriQueueError, match="your registry"):
        job.result()


def test_a_handlers_context_is_whole() -> None:
    """That its members fit, too, is what mypy says: both contexts are given to what takes a JobContext."""
    wanted = {name for name in dir(JobContext) if not name.startswith("_")}
    context = LocalContext(uuid4(), 1, "t", timeout_s=1)
    assert wanted <= {name for name in dir(context) if not name.startswith("_")}
    assert 0 < context.remaining_s <= 1
    assert not context.cancelled
    assert not context.cancelled.is_set()
    context.raise_if_cancelled()
    with pytest.raises(ValueError, match="0 to 100"):
        context.progress(101)
    for wrong in (None, object(), "\0", "x" * 70_000):
        with pytest.raises(ValueError, match="a checkpoint"):
            context.checkpoint(wrong)


def test_a_typed_handler_is_called_with_either_context() -> None:
    said: list[float] = []
    real = AttemptContext(new_job_id(), 1, "t", deadline=0.0, sink=lambda percent, _: said.append(percent))
    local = LocalContext(resume={"width": 7})
    results = [resize_in_a_thread(Resize(width=1), context) for context in (real, local)]
    assert results == [{"width": 1, "attempt": 1}] * 2
    assert [percent for percent, _ in local.said] == said != []


def test_a_job_that_was_cancelled_is_tried_out() -> None:
    context = LocalContext()
    context.cancelled.set()
    assert context.cancelled
    assert context.cancelled.wait(0)
    with pytest.raises(AskedToStop):
        context.raise_if_cancelled()
