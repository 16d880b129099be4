"""What handlers really did, written outside of the platform: the witness that it is checked against.

One line per start and per end of a handler, appended by one `write` each (O_APPEND), so that a SIGKILL tears none and
what several processes write never mixes.
"""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATH_VARIABLE: Final = "ACCEPTANCE_LEDGER"
START, END, BROKEN_OFF = "start", "end", "broken_off"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; `at` is `time.monotonic`, which all processes of a machine share."""

    what: str
    job_id: str
    attempt: int
    pid: int
    worker: str
    at: float

    @property
    def key(self) -> tuple[str, int]:
        """Which attempt it is about."""
        return self.job_id, self.attempt


class LedgerWriter:
    """A handler's side, open for as long as its process lives."""

    def __init__(self) -> None:
        self._worker = os.environ.get("DISTRIQUEUE_WORKER_ID", "unknown")
        self._file = os.open(os.environ[PATH_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @contextmanager
    def run(self, job_id: object, attempt: int) -> Iterator[None]:
        """Enter the start, and the end: `end` when the block returns, `broken_off` when it raises."""
        self._enter(START, job_id, attempt)
        what = BROKEN_OFF
        try:
            yield
            what = END
        finally:
            self._enter(what, job_id, attempt)

    def _enter(self, what: str, job_id: object, attempt: int) -> None:
        line = f"{what} {job_id} {attempt} {os.getpid()} {self._worker} {time.monotonic():.6f}\n"
        os.write(self._file, line.encode())


class Ledger:
    """The test's side."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[Entry]:
        """Return all entries so far, in the order they were written."""
        if not self.path.exists():
            return []
        fields = [line.split() for line in self.path.read_text().splitlines()]
        return [
            Entry(what, job_id, int(attempt), int(pid), worker, float(at))
            for what, job_id, attempt, pid, worker, at in fields
        ]

    def count(self, what: str) -> int:
        """Return how many entries of a kind there are."""
        return f"\n{self.path.read_text()}".count(f"\n{what} ") if self.path.exists() else 0

    def twice(self) -> list[tuple[str, int]]:
        """Return the attempts that were started more than once: the thing that must never be."""
        starts = Counter(entry.key for entry in self.entries() if entry.what == START)
        return [key for key, count in starts.items() if count > 1]

    def again_after_end(self) -> list[str]:
        """Return the jobs that were started once more although an earlier run had come to its end."""
        ended: set[str] = set()
        found = []
        for entry in self.entries():
            if entry.what == END:
                ended.add(entry.job_id)
            elif entry.what == START and entry.job_id in ended:
                found.append(entry.job_id)
        return found

    def running(self, pid: int) -> set[str]:
        """Return the jobs that a process has started and not ended."""
        open_jobs: set[str] = set()
        for entry in self.entries():
            if entry.pid == pid:
                (open_jobs.add if entry.what == START else open_jobs.discard)(entry.job_id)
        return open_jobs

    def starts(self) -> dict[str, list[Entry]]:
        """Return each job's starts, in order."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries():
            if entry.what == START:
                found[entry.job_id].append(entry)
        return found

    def assert_each_once(self, job_ids: list[str]) -> None:
        """Check that each job was started once and ended once, and that nothing else ran."""
        entries = self.entries()
        for what in (START, END):
            counts = Counter(entry.job_id for entry in entries if entry.what == what)
            missing = [job_id for job_id in job_ids if job_id not in counts]
            doubled = [job_id for job_id, count in counts.items() if count > 1]
            assert (missing, doubled) == ([], []), f"{what}: {len(missing)} missing, {len(doubled)} more than once"
        assert {entry.job_id for entry in entries} == set(job_ids)
