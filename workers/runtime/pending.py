"""The order of reports: a FIFO in which a job has at most one report in flight and one more waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from workers.runtime.recent import AttemptKey

RawParents: TypeAlias = Sequence[Any]
"""What an accepted claim says of the jobs that this one has waited for, as it came; hardly any job has some."""

OnAnswer: TypeAlias = Callable[[AttemptKey, str, str | None, RawParents], None]
"""Called once with the gateway's answer (`core.messages.Answer`), its reason, and the job's parents."""

OVERHEAD_BYTES: Final = 300
"""What a report weighs besides its result and its error."""


class Kind(Enum):
    """What a report is for."""

    CLAIM = "claim"
    PROGRESS = "progress"
    END = "end"


@dataclass(slots=True, eq=False)
class Pending:
    """A report that the gateway has not answered yet."""

    key: AttemptKey
    kind: Kind
    body: dict[str, Any]
    size_bytes: int = OVERHEAD_BYTES
    on_answer: OnAnswer | None = None
    sent: bool = False
    """Once sent, a claim may have been accepted although no answer came."""
    answered: bool = field(default=False)


class PendingReports:
    """Reports in the order they are to be sent; a job's claim precedes its progress, and that its end."""

    def __init__(self) -> None:
        self._queue: deque[Pending] = deque()
        self._in_flight: set[AttemptKey] = set()
        self._behind: dict[AttemptKey, Pending] = {}
        self._progress: dict[AttemptKey, Pending] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._in_flight) + len(self._behind)

    @property
    def ready(self) -> int:
        """How many could be sent now."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """How many are being sent."""
        return len(self._in_flight)

    def add(self, report: Pending) -> None:
        """Append a report; a newer one takes the place of a waiting progress of the same job."""
        self.size_bytes += report.size_bytes
        key = report.key
        if key in self._in_flight:
            replaced = self._behind.get(key)
            if replaced is not None:
                self.size_bytes -= replaced.size_bytes
            self._behind[key] = report
            return
        waiting = self._progress.pop(key, None) if self._progress else None
        if waiting is None:
            self._queue.append(report)
            waiting = report
        else:
            self.size_bytes -= waiting.size_bytes
            waiting.kind, waiting.body, waiting.size_bytes = report.kind, report.body, report.size_bytes
            waiting.on_answer = report.on_answer
        if report.kind is Kind.PROGRESS:
            self._progress[key] = waiting

    def take(self, *, most: int, most_bytes: int) -> list[Pending]:
        """Take the first reports for one request: at least one, if there is any."""
        batch: list[Pending] = []
        size_bytes = 0
        while self._queue and len(batch) < most:
            size_bytes += self._queue[0].size_bytes
            if batch and size_bytes > most_bytes:
                break
            report = self._queue.popleft()
            report.sent = True
            batch.append(report)
        self._in_flight.update([report.key for report in batch])
        if self._progress:
            for report in batch:
                self._progress.pop(report.key, None)
        return batch

    def answered(self, report: Pending) -> None:
        """The report is through: forget it, and let the one behind it go."""
        report.answered = True
        self.size_bytes -= report.size_bytes
        self._in_flight.discard(report.key)
        behind = self._behind.pop(report.key, None) if self._behind else None
        if behind is not None:
            self.size_bytes -= behind.size_bytes
            self.add(behind)

    def put_back(self, batch: Iterable[Pending]) -> None:
        """These were not answered: they are the first to be sent again, in the same order."""
        unanswered = [report for report in batch if not report.answered]
        self._in_flight.difference_update([report.key for report in unanswered])
        for report in reversed(unanswered):
            behind = self._behind.pop(report.key, None)
            if behind is not None and report.kind is Kind.PROGRESS:
                self.size_bytes -= report.size_bytes
                report = behind  # noqa: PLW2901 # what is newer says it all
            elif behind is not None:
                raise AssertionError(f"a report behind an unanswered {report.kind.value}")
            if report.kind is Kind.PROGRESS:
                self._progress[report.key] = report
            self._queue.appendleft(report)

    def withdraw(self, kind: Kind) -> Iterator[Pending]:
        """Remove and yield the waiting reports of a kind that were never sent."""
        kept: deque[Pending] = deque()
        for report in self._queue:
            if report.kind is kind and not report.sent:
                self.size_bytes -= report.size_bytes
                yield report
            else:
                kept.append(report)
        self._queue = kept
