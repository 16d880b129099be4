"""The order of reports: a FIFO in which a job has at most one report in flight and one more waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

import orjson

from workers.runtime.recent import AttemptKey


@dataclass(frozen=True, slots=True)
class Granted:
    """What an accepted claim brings along, as it came; hardly any job has some."""

    parents: Sequence[Any] = ()
    """How the jobs ended that this one has waited for."""
    checkpoint: Any = None
    """Where an earlier attempt has come to."""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Granted":
        """Read the gateway's answer to a claim."""
        parents, checkpoint = answer.get("parents"), answer.get("checkpoint")
        return NOTHING if parents is None and checkpoint is None else cls(parents or (), checkpoint)


NOTHING: Final = Granted()

OnAnswer: TypeAlias = Callable[[AttemptKey, str, str | None, Granted], None]
"""Called once with the gateway's answer (`core.messages.Answer`), its reason, and what an accepted claim brings."""

OVERHEAD_BYTES: Final = 300
"""What a report weighs besides its result and its error."""
LINE_BYTES: Final = 200
"""What a line of a job's log weighs besides its message, its fields included as they mostly are."""


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
    checkpoint_bytes: int = 0
    trace: str | None = None
    """The `traceparent` of its job's submission, and since when it waits (`time.time_ns`), if that is traced."""
    since_ns: int = 0

    def say(self, lines: Sequence[dict[str, Any]], checkpoint: bytes | None) -> None:
        """Bring along lines of the job's log, and a checkpoint."""
        if lines:
            self.body["logs"] = lines
            self.size_bytes += _weight(lines)
        if checkpoint is not None:
            self.body["checkpoint"] = orjson.Fragment(checkpoint)
            self.checkpoint_bytes = len(checkpoint)
            self.size_bytes += self.checkpoint_bytes

    def take_over(self, older: "Pending") -> int:
        """Say also what the older report would have said beside its progress; return what that adds in bytes."""
        before_bytes = self.size_bytes
        if "logs" in older.body:
            self.body["logs"] = [*older.body["logs"], *self.body.get("logs", ())]
            self.size_bytes += _weight(older.body["logs"])
        if "checkpoint" in older.body and "checkpoint" not in self.body:
            self.body["checkpoint"] = older.body["checkpoint"]
            self.checkpoint_bytes = older.checkpoint_bytes
            self.size_bytes += self.checkpoint_bytes
        if self.kind is Kind.PROGRESS and "progress" in older.body and "progress" not in self.body:
            self.body |= {name: older.body[name] for name in ("progress", "progressMessage") if name in older.body}
        return self.size_bytes - before_bytes


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
                self.size_bytes += report.take_over(replaced) - replaced.size_bytes
            self._behind[key] = report
            return
        waiting = self._progress.pop(key, None) if self._progress else None
        if waiting is None:
            self._queue.append(report)
            waiting = report
        else:
            self.size_bytes += report.take_over(waiting) - waiting.size_bytes
            waiting.kind, waiting.body, waiting.size_bytes = report.kind, report.body, report.size_bytes
            waiting.on_answer, waiting.checkpoint_bytes = report.on_answer, report.checkpoint_bytes
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
                self.size_bytes += behind.take_over(report) - report.size_bytes
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


def _weight(lines: Sequence[dict[str, Any]]) -> int:
    return sum(len(line["message"]) + LINE_BYTES for line in lines)
