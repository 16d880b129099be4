"""What one gateway counts; several have an endpoint each, and Prometheus adds them up.

Jobs as such are counted by the leader, from the event log: a job's way may lead through several gateways.
"""

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from distriqueue import __version__
from distriqueue.core.messages import Answer, Report, ReportAnswer, ReportStatus
from distriqueue.store.database import Database
from distriqueue.store.reports import is_claim
from distriqueue.telemetry.metrics import BATCH_BUCKETS, CALL_BUCKETS_S, LoopLag, PoolUse, Publishes, new_registry
from gateway.group_commit import OnCommit

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OUTCOMES: Final = ("accepted", "refused", "overloaded", "unavailable")
COMMITS: Final = ("intake", "reports")

Timed: TypeAlias = Callable[[int, float], None]
"""Told of each request: its answer's status, and after how many seconds that was made."""


class Metrics:
    """The process's figures, and the hooks that count them."""

    def __init__(self) -> None:
        self._registry = registry = new_registry("gateway", version=__version__)
        self.lag = LoopLag(registry)
        self.published = Publishes(registry).told
        requests = Histogram(
            "distriqueue_request_seconds",
            "From a request's routing to its answer, by what came of it.",
            ["route", "outcome"],
            buckets=CALL_BUCKETS_S,
            registry=registry,
        )
        self._requests = {
            route: {outcome: requests.labels(route, outcome) for outcome in OUTCOMES}
            for route in ("submit", "submit_batch", "report")
        }
        self._claims = _bound(registry, "claims", "Claims of attempts by workers.", "answer", tuple(Answer))
        self._reports = _bound(registry, "reports", "Reports on claimed attempts.", "answer", tuple(Answer))
        ends = [status for status in ReportStatus if status is not ReportStatus.RUNNING]
        self._attempts = _bound(registry, "attempts", "Attempts that ended, by how.", "outcome", ends)
        self._sizes = Histogram(
            "distriqueue_commit_batch_size",
            "Jobs or reports that shared a commit.",
            ["commit"],
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._commits = Histogram(
            "distriqueue_commit_seconds",
            "Commits of jobs or reports.",
            ["commit"],
            buckets=CALL_BUCKETS_S,
            registry=registry,
        )
        self.intake_committed, self.reports_committed = map(self._on_commit, COMMITS)

    @property
    def timed(self) -> dict[tuple[str, str], Timed]:
        """By method and path, what is to be told of requests."""
        return {
            ("POST", "/api/jobs"): self._timed("submit"),
            ("POST", "/api/jobs/batch"): self._timed("submit_batch"),
            ("POST", "/api/jobs/status"): self._timed("report"),
        }

    def watch(
        self,
        database: Database,
        *,
        clients: Callable[[], int],
        unsent: Callable[[], int],
        is_connected: Callable[[], bool],
    ) -> None:
        """Show also what other parts know at any time."""
        self._registry.register(PoolUse(database.use))
        for name, says, read in (
            ("sse_clients", "Clients that follow the event stream.", clients),
            ("publish_queue", "Dispatches that wait in this gateway to be given to the broker.", unsent),
            ("broker_up", "1 while the connection to the broker is up.", is_connected),
        ):
            Gauge(f"distriqueue_{name}", says, registry=self._registry).set_function(read)

    def answered(self, reports: Sequence[Report], answers: Sequence[ReportAnswer]) -> None:
        """Count a batch of reports."""
        tally = Tally(
            (None if is_claim(report) else report.status, answer.answer)
            for report, answer in zip(reports, answers, strict=True)
        )
        for (status, answer), count in tally.items():
            if status is None:
                self._claims[answer].inc(count)
                continue
            self._reports[answer].inc(count)
            if answer is Answer.ACCEPTED and status is not ReportStatus.RUNNING:
                self._attempts[status].inc(count)

    def expose(self) -> bytes:
        """Return the figures as text."""
        return generate_latest(self._registry)

    def _timed(self, route: str) -> Timed:
        children = self._requests[route]

        def tell(status: int, took_s: float) -> None:
            children[_outcome(status)].observe(took_s)

        return tell

    def _on_commit(self, commit: str) -> OnCommit:
        sizes, commits = self._sizes.labels(commit), self._commits.labels(commit)

        def tell(weight: int, took_s: float) -> None:
            sizes.observe(weight)
            commits.observe(took_s)

        return tell


def _bound(registry: CollectorRegistry, name: str, says: str, label: str, values: Sequence[str]) -> dict[str, Counter]:
    counter = Counter(f"distriqueue_{name}", says, [label], registry=registry)
    return {value: counter.labels(str(value)) for value in values}


def _outcome(status: int) -> str:
    if status < 400:
        return "accepted"
    if status == 429:
        return "overloaded"
    return "refused" if status < 500 else "unavailable"
