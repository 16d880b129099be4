"""An OTLP receiver in this process: what services send of their traces, and what webhooks say of theirs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

TRACES = "/v1/traces"
CODINGS = {None, "identity"}


@dataclass(frozen=True)
class ReceivedSpan:
    """One span, as far as tests look at it."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    is_error: bool
    attributes: dict[str, str]


@dataclass
class OtlpReceiver:
    """What came; every other POST is kept with its headers, as a webhook's receiver would."""

    port: int = 0
    spans: list[ReceivedSpan] = field(default_factory=list)
    posts: list[dict[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self.port}"

    def of_trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans of one trace, as they came."""
        with self._lock:
            return [span for span in self.spans if span.trace_id == trace_id]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Take one request."""
        with self._lock:
            if path != TRACES:
                self.posts.append(headers)
                return
            assert headers.get("content-encoding") in CODINGS
            self.spans += _read(body)


@contextmanager
def receiving() -> Iterator[OtlpReceiver]:
    """Receive, on a free port of 127.0.0.1, until the block ends."""
    receiver = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.take(self.path, headers, self.rfile.read(int(headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_said: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(5)


def _read(body: bytes) -> list[ReceivedSpan]:
    sent = ExportTraceServiceRequest.FromString(body)
    return [
        ReceivedSpan(
            service=next(each.value.string_value for each in of.resource.attributes if each.key == "service.name"),
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            is_error=span.status.code == Status.STATUS_CODE_ERROR,
            attributes={each.key: str(each.value.string_value or each.value.int_value) for each in span.attributes},
        )
        for of in sent.resource_spans
        for scope in of.scope_spans
        for span in scope.spans
    ]
