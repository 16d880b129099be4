"""Jobs in memory: how they come, how they wait for each other, how they end. The rules are the store's, in small."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from distriqueue.core.errors import Conflict, InvalidRequest, NotFound
from distriqueue.core.job import DEFAULT_EXECUTION_TIMEOUT_S, DEFAULT_MAX_RETRIES, Priority, new_job_id
from distriqueue.core.messages import JobError, Parent
from distriqueue.core.states import RETRIABLE, TERMINAL, Status
from distriqueue.sdk.handle import Seen
from distriqueue.sdk.models import ErrorSnapshot, JobEvent, JobSnapshot

_LANES: Final = list(Priority)


@dataclass(slots=True)
class Entry:
    """One job, and what its attempts have left."""

    seen: Seen
    job: JobSnapshot
    run_anyway: bool
    checkpoint: Any = None
    cause: BaseException | None = None
    """What the newest attempt raised."""
    progress: list[tuple[float, str | None]] = field(default_factory=list)
    logs: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[JobEvent] = field(default_factory=list)
    tries: int = 0
    """Failed attempts since it was submitted or retried."""


class Board:
    """All jobs of a test, in the order in which they came."""

    def __init__(self) -> None:
        self._entries: dict[UUID, Entry] = {}
        self._by_key: dict[str, Sequence[Entry]] = {}
        self._stops: set[UUID] = set()
        """Batches of which nothing starts any more once a job has failed."""
        self._events = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))

    def get(self, job_id: UUID) -> Entry:
        """Return a job; NotFound."""
        try:
            return self._entries[job_id]
        except KeyError:
            raise NotFound(f"there is no job {job_id}") from None

    def submit(
        self,
        bodies: Sequence[Mapping[str, Any]],
        *,
        batch_id: UUID | None = None,
        stop_on_failure: bool = False,
        sequential: bool = False,
        idempotency_key: str | None = None,
    ) -> Sequence[Entry]:
        """Take jobs as the REST contract spells them, all or none: Conflict, InvalidRequest."""
        if idempotency_key is not None and idempotency_key in self._by_key:
            return self._by_key[idempotency_key]
        new: dict[UUID, Entry] = {}
        taken: list[Entry] = []
        for body in bodies:
            entry = self._existing(body, new) or self._new(body, batch_id)
            if entry.job.id not in self._entries:
                new[entry.job.id] = entry
            taken.append(entry)
        if sequential:
            for before, entry in pairwise(taken):
                entry.job = entry.job.model_copy(update={"depends_on": (before.job.id,)})
                entry.run_anyway = not stop_on_failure
        for entry in new.values():
            unknown = [each for each in entry.job.depends_on if each not in self._entries and each not in new]
            if unknown:
                raise InvalidRequest(f"dependsOn: there is no job {unknown[0]}")
        self._entries |= new
        if stop_on_failure and batch_id is not None:
            self._stops.add(batch_id)
        for entry in new.values():
            waits = any(self._entries[each].job.status not in TERMINAL for each in entry.job.depends_on)
            later = Status.SCHEDULED if entry.job.schedule_at is not None else Status.PENDING
            self.move(entry, Status.BLOCKED if waits else later)
            self._cancel_orphan(entry)
        if idempotency_key is not None:
            self._by_key[idempotency_key] = taken
        return taken

    def next(self) -> Entry | None:
        """Return the job to run now: by lane and age; what is due later, or retried, when there is nothing else."""
        ready = [entry for entry in self if entry.job.status is Status.PENDING]
        if ready:
            return min(ready, key=lambda entry: _LANES.index(entry.job.priority))
        later = [entry for entry in self if entry.job.status in (Status.SCHEDULED, Status.RETRYING)]
        later.sort(key=lambda entry: entry.job.schedule_at or entry.job.created_at)
        return later[0] if later else None

    def parents(self, entry: Entry) -> dict[UUID, Parent]:
        """Return how the jobs have ended that this one has waited for."""
        jobs = [self._entries[each].job for each in entry.job.depends_on]
        return {job.id: _parent(job) for job in jobs}

    def move(self, entry: Entry, status: Status, **changes: Any) -> None:
        """Let a job go to a status, and others with it that have waited for that."""
        if status in TERMINAL:
            changes["finished_at"] = datetime.now(UTC)
        entry.job = entry.job.model_copy(update={"status": status, **changes})
        entry.seen.snapshot = entry.job
        self._events += 1
        entry.events.append(
            JobEvent(
                id=self._events,
                job_id=entry.job.id,
                status=status,
                type=entry.job.type,
                priority=entry.job.priority,
                attempt=entry.job.attempt,
                batch_id=entry.job.batch_id,
                timestamp=datetime.now(UTC),
            )
        )
        if status in TERMINAL:
            self._follow_up(entry)

    def cancel(self, entry: Entry, why: str | None = None) -> None:
        """Cancel a job; Conflict when it has ended."""
        if entry.job.status in TERMINAL:
            raise Conflict(f"job {entry.job.id} is {entry.job.status.value} already")
        error = None if why is None else ErrorSnapshot(message=why, type="parent_failed")
        self.move(entry, Status.CANCELLED, error=error)

    def retry(self, entry: Entry) -> None:
        """Let a job run again; Conflict unless it failed, timed out or was cancelled."""
        if entry.job.status not in RETRIABLE:
            raise Conflict(
                f"job {entry.job.id} is {entry.job.status.value}: only what has not completed can be retried"
            )
        entry.tries = 0
        self.move(entry, Status.PENDING, attempt=entry.job.attempt + 1, error=None, finished_at=None)

    def _existing(self, body: Mapping[str, Any], new: Mapping[UUID, Entry]) -> Entry | None:
        """Return the job that has the same unique key; Conflict unless that is wanted."""
        chosen = body.get("id")
        if chosen is not None and UUID(str(chosen)) in {*self._entries, *new}:
            raise Conflict(f"a job with the id {chosen} exists already")
        key = body.get("uniqueKey")
        if key is None:
            return None
        known: list[Entry] = [*self._entries.values(), *new.values()]
        for entry in known:
            if entry.job.unique_key == key and entry.job.status not in TERMINAL:
                if body.get("onConflict") == "return_existing":
                    return entry
                raise Conflict(f"an unfinished job, {entry.job.id}, has the uniqueKey {key!r}")
        return None

    def _new(self, body: Mapping[str, Any], batch_id: UUID | None) -> Entry:
        parents = [*body.get("dependsOn", ()), *([body["parentJobId"]] if "parentJobId" in body else ())]
        known = {
            name: value for name, value in body.items() if name not in ("retryPolicy", "onConflict", "onParentFailure")
        }
        job = JobSnapshot.model_validate(
            {
                "priority": Priority.MEDIUM,
                "maxRetries": DEFAULT_MAX_RETRIES,
                "executionTimeout": DEFAULT_EXECUTION_TIMEOUT_S,
                **known,
                "id": body.get("id") or new_job_id(),
                "dependsOn": tuple(dict.fromkeys(parents)),
                "status": Status.PENDING,
                "attempt": 1,
                "batchId": batch_id,
                "createdAt": datetime.now(UTC),
            }
        )
        return Entry(Seen(job.id, job.type, job), job, run_anyway=body.get("onParentFailure") == "run")

    def _follow_up(self, ended: Entry) -> None:
        for entry in self:
            if entry.job.status is Status.BLOCKED and ended.job.id in entry.job.depends_on:
                self._cancel_orphan(entry)
                if entry.job.status is Status.BLOCKED and self._is_free(entry):
                    self.move(entry, Status.SCHEDULED if entry.job.schedule_at is not None else Status.PENDING)
        if ended.job.status in (Status.FAILED, Status.TIMEOUT) and ended.job.batch_id in self._stops:
            for entry in self:
                if entry.job.batch_id == ended.job.batch_id and entry.job.status not in (*TERMINAL, Status.RUNNING):
                    self.cancel(entry, f"job {ended.job.id} of the batch failed")

    def _cancel_orphan(self, entry: Entry) -> None:
        if entry.run_anyway or entry.job.status in TERMINAL:
            return
        for parent in entry.job.depends_on:
            status = self._entries[parent].job.status
            if status in TERMINAL and status is not Status.COMPLETED:
                self.cancel(entry, f"job {parent}, which it waited for, ended as {status.value}")
                return

    def _is_free(self, entry: Entry) -> bool:
        return all(self._entries[each].job.status in TERMINAL for each in entry.job.depends_on)


def _parent(job: JobSnapshot) -> Parent:
    error = None
    if job.error is not None:
        error = JobError(message=job.error.message, type=job.error.type, traceback=job.error.traceback)
    return Parent(job_id=job.id, type=job.type, status=job.status, result=job.result, error=error)
