"""Traces by OpenTelemetry: one of a job from its submission over dispatch, claim, handler and report to its webhook.

Off unless a setting says otherwise, and then nothing here is called but `current`: whoever makes spans has None for a
`Tracing`, and no job has a trace. On, a submission that is sampled gives its jobs a `traceparent` (W3C Trace Context),
which is stored with them and goes with each dispatch; all spans of a job are children of the span of its submission.
They go out by OTLP over HTTP, and the standard's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`
and so on) say where to, and which.
"""

import contextvars
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from distriqueue.core.errors import BadSetting
from distriqueue.core.messages import Dispatch
from distriqueue.settings import TraceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

HEADER: Final = "traceparent"
EXPORT_S: Final = 5.0
"""What the collector gets to take the last spans when a process stops."""

Kind = Literal["server", "producer", "consumer", "client", "internal"]

_current: contextvars.ContextVar[str | None] = contextvars.ContextVar(HEADER, default=None)


def current() -> str | None:
    """Return the `traceparent` of the sampled span that this code runs in; None outside of any."""
    return _current.get()


def trace_id(traceparent: str) -> str:
    """Return the trace's id, 32 hexadecimal digits."""
    return traceparent[3:35]


def attributes_of(dispatch: Dispatch) -> dict[str, Any]:
    """Return what spans of an attempt say of it."""
    return {
        "messaging.system": "distriqueue",
        "messaging.destination.name": dispatch.priority.value,
        "messaging.message.id": str(dispatch.job_id),
        "distriqueue.job.type": dispatch.type,
        "distriqueue.job.attempt": dispatch.attempt,
    }


class Tracing:
    """Makes spans. `parent` is a `traceparent`; without one, or with one that is none, a span begins a trace."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import context, trace  # noqa: PLC0415 - an optional extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._trace = trace
        self._context = context
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("distriqueue")

    def begin(self, name: str, *, kind: Kind, parent: str | None, began_ns: int | None = None, **said: Any) -> "Span":
        """Begin a span, at `time.time_ns()` if not told; `finish` ends it."""
        carrier = {} if parent is None else {HEADER: parent}
        return self._tracer.start_span(
            name,
            context=self._propagator.extract(carrier),  # nothing of what is current here
            kind=self._trace.SpanKind[kind.upper()],
            attributes=said,
            start_time=began_ns,
        )

    def finish(self, span: "Span", *, error: str | None = None, **said: Any) -> None:
        """End a span; `error` says that it went wrong."""
        span.set_attributes(said)
        if error is not None:
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, error))
        span.end()

    def record(
        self, name: str, *, kind: Kind, parent: str, began_ns: int, error: str | None = None, **said: Any
    ) -> None:
        """Make a span of what has just ended."""
        self.finish(self.begin(name, kind=kind, parent=parent, began_ns=began_ns, **said), error=error)

    def scope(self, span: "Span") -> contextvars.Context:
        """Return a context to run code in, in which the span is the current one."""
        scope = contextvars.copy_context()
        scope.run(self._enter, span)
        return scope

    @contextmanager
    def inside(self, span: "Span") -> Iterator[None]:
        """Let the span be the current one in this block; the log's lines have its trace's id."""
        token = self._context.attach(self._trace.set_span_in_context(span))
        mine = _current.set(self._header(span))
        try:
            with structlog.contextvars.bound_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}"):
                yield
        finally:
            _current.reset(mine)
            self._context.detach(token)

    def sent(self, dispatches: Sequence[Dispatch], confirmed: Sequence[bool], *, began_ns: int) -> None:
        """Record that dispatches were given to the broker, of those that have a trace."""
        for dispatch, is_confirmed in zip(dispatches, confirmed, strict=True):
            if dispatch.trace is not None:
                self.record(
                    "dispatch",
                    kind="producer",
                    parent=dispatch.trace,
                    began_ns=began_ns,
                    error=None if is_confirmed else "not confirmed",
                    **attributes_of(dispatch),
                )

    def _enter(self, span: "Span") -> None:
        self._context.attach(self._trace.set_span_in_context(span))
        _current.set(self._header(span))

    def _header(self, span: "Span") -> str | None:
        """Return the span's `traceparent`; None when nobody wants to know of it."""
        if not span.get_span_context().trace_flags.sampled:
            return None
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=self._trace.set_span_in_context(span))
        return carrier.get(HEADER)


@contextmanager
def open_tracing(settings: TraceSettings, *, service: str, version: str) -> Iterator[Tracing | None]:
    """Yield what makes spans, None when traces are off; at the end, send the last ones.

    BadSetting where the extra is not installed.
    """
    if not settings.tracing:
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as exc:
        raise BadSetting(f"DISTRIQUEUE_TRACING needs the extra: pip install 'distriqueue[tracing]' ({exc})") from exc
    resource = Resource.create({"service.name": f"distriqueue-{service}", "service.version": version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_S)))
    try:
        yield Tracing(provider)
    finally:
        provider.shutdown()


def ago_ns(seconds: float) -> int:
    """Return when that was, as spans count time."""
    return time.time_ns() - round(seconds * 1e9)
