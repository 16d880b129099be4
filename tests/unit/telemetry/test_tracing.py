"""Spans: whose children they are, what is current where, and what a job's dispatch carries of it."""

import asyncio
import contextvars
import json
import sys
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from distriqueue.core.errors import BadSetting
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch
from distriqueue.settings import TraceSettings
from distriqueue.telemetry.tracing import Tracing, ago_ns, current, open_tracing, trace_id

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = CALLER.removesuffix("01") + "00"


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


@pytest.fixture
def tracing(kept: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Tracing(provider)


def only(kept: InMemorySpanExporter) -> ReadableSpan:
    (span,) = kept.get_finished_spans()
    return span


def test_a_span_is_its_callers_child(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    tracing.finish(tracing.begin("submit", kind="server", parent=CALLER, of="x"), status=202)
    span = only(kept)
    assert span.parent is not None
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == trace_id(CALLER)
    assert dict(span.attributes or {}) == {"of": "x", "status": 202}


@pytest.mark.parametrize("parent", [None, "", "none", "00-zz-zz-01", CALLER[:-3]])
def test_without_a_caller_it_begins_a_trace(tracing: Tracing, kept: InMemorySpanExporter, parent: str | None) -> None:
    with tracing.inside(tracing.begin("other", kind="internal", parent=CALLER)):
        tracing.finish(tracing.begin("submit", kind="server", parent=parent))
    assert only(kept).parent is None


def test_inside_a_span_it_is_the_current_one_and_the_log_says_so(tracing: Tracing) -> None:
    before = structlog.contextvars.get_contextvars()
    span = tracing.begin("submit", kind="server", parent=CALLER)
    with tracing.inside(span):
        said = current()
        assert trace.get_current_span() is span
        assert structlog.contextvars.get_contextvars() == before | {"trace_id": trace_id(CALLER)}
    assert said == f"00-{trace_id(CALLER)}-{span.get_span_context().span_id:016x}-01"
    assert current() is None
    assert structlog.contextvars.get_contextvars() == before
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_is_not_sampled_has_nothing_to_pass_on(tracing: Tracing) -> None:
    with tracing.inside(tracing.begin("submit", kind="server", parent=UNSAMPLED)):
        assert current() is None


async def test_a_scope_is_for_what_runs_in_it(tracing: Tracing) -> None:
    span = tracing.begin("run", kind="consumer", parent=CALLER)
    scope = tracing.scope(span)

    async def handler() -> str | None:
        assert trace.get_current_span() is span
        return current()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(handler(), context=scope)
    assert trace_id(task.result() or "") == trace_id(CALLER)
    assert current() is None
    assert contextvars.copy_context().run(current) is None


def test_a_span_of_what_is_over_begins_when_that_did(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    tracing.record("claim", kind="consumer", parent=CALLER, began_ns=ago_ns(2.0), error="refused")
    span = only(kept)
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == pytest.approx(2e9, rel=0.2)
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "refused")


def test_only_dispatches_with_a_trace_are_recorded(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    sent = [Dispatch(new_job_id(), 1, "resize", Priority.HIGH, {}, 1.0, trace) for trace in (CALLER, None, CALLER)]
    tracing.sent(sent, [True, True, False], began_ns=ago_ns(0.01))
    spans = kept.get_finished_spans()
    assert [(span.attributes or {})["messaging.message.id"] for span in spans] == [
        str(each.job_id) for each in (sent[0], sent[2])
    ]
    assert [span.status.is_ok for span in spans] == [True, False]


def test_a_dispatch_carries_its_trace_if_it_has_one() -> None:
    plain = Dispatch(new_job_id(), 1, "resize", Priority.HIGH, {}, 1.0)
    assert b"traceparent" not in plain.encode()
    traced = Dispatch(new_job_id(), 1, "resize", Priority.HIGH, {}, 1.0, CALLER)
    assert Dispatch.decode(traced.encode()) == traced
    odd = json.loads(plain.encode()) | {"traceparent": 7}
    assert Dispatch.decode(json.dumps(odd).encode()) == plain


def test_off_makes_nothing() -> None:
    with open_tracing(TraceSettings.load(tracing=False), service="gateway", version="1") as tracing:
        assert tracing is None


def test_on_without_the_extra_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with (
        pytest.raises(BadSetting, match=r"DISTRIQUEUE_TRACING needs the extra: pip install 'distriqueue\[tracing\]'"),
        open_tracing(TraceSettings.load(tracing=True), service="gateway", version="1"),
    ):
        pass
