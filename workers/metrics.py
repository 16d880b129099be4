"""What one worker counts, for whoever gives it a port to show it on; without one nothing is counted."""

from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.types import Receive, Scope, Send

from distriqueue import __version__
from distriqueue.core.messages import ReportStatus
from distriqueue.telemetry.metrics import JOB_BUCKETS_S, LoopLag, new_registry

PATH: Final = "/metrics"


class Metrics:
    """The process's figures, and the hooks that count them; an ASGI app that shows them."""

    def __init__(self, types: Sequence[str]) -> None:
        self._registry = registry = new_registry("worker", version=__version__)
        self.lag = LoopLag(registry)
        ran = Histogram(
            "distriqueue_handler_seconds",
            "From an attempt's start to its end in this worker, by its job's type.",
            ["type"],
            buckets=JOB_BUCKETS_S,
            registry=registry,
        )
        self._ran = {type_: ran.labels(type_) for type_ in types}
        ended = Counter(
            "distriqueue_handler_attempts",
            "Attempts that ended in this worker, by how.",
            ["outcome"],
            registry=registry,
        )
        ends: list[ReportStatus] = [status for status in ReportStatus if status is not ReportStatus.RUNNING]
        self._ended = {status: ended.labels(status.value) for status in ends}

    def ended(self, type_: str, status: ReportStatus, ran_s: float) -> None:
        """Count an attempt."""
        self._ran[type_].observe(ran_s)
        self._ended[status].inc()

    def watch(self, *, slots: int, busy: Callable[[], int], unsent: Callable[[], int]) -> None:
        """Show also what other parts know at any time."""
        for name, says, read in (
            ("handler_slots", "Attempts that this worker can run at once.", lambda: slots),
            ("handler_slots_busy", "Attempts that this worker runs.", busy),
            ("outbox_reports", "Claims and reports that no gateway has answered yet.", unsent),
        ):
            Gauge(f"distriqueue_{name}", says, registry=self._registry).set_function(read)

    def expose(self) -> bytes:
        """Return the figures as text."""
        return generate_latest(self._registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - no body is read
        """Serve `GET /metrics`."""
        found = scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", PATH)
        body = self.expose() if found else b"not found"
        kind = CONTENT_TYPE_LATEST if found else "text/plain"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})
