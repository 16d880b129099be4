"""Submissions that need a look before they are stored: chosen ids, unique and idempotency keys, parents, slots.

Many are looked at together, and stored in one commit, as the plain ones are. What two gateways take at the same time
shows when a row that was free is not inserted: the whole transaction is then run again, and sees the other's.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json, to_json

from distriqueue.core.errors import Conflict, DistriQueueError, InvalidRequest, StoreUnavailable
from distriqueue.core.messages import Dispatch
from distriqueue.core.states import Status
from distriqueue.store import idempotency
from distriqueue.store.database import Database, again
from distriqueue.store.followups import admit, follow_up
from distriqueue.store.idempotency import IdempotencyKey
from distriqueue.store.jobs import NO_EXTRAS, NewBatch, NewJob, Stored, columns, extra_columns, insert_batches
from distriqueue.store.jobs import SQL as JOBS
from distriqueue.store.statements import load

SQL: Final = load("submissions.sql")
TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs that are stored together or not at all."""

    jobs: tuple[NewJob, ...]
    own_ids: bool = False
    """The client chose ids, so one may be taken."""
    batch: NewBatch | None = None
    idempotency: IdempotencyKey | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing about it needs a look."""
        return (
            not self.own_ids
            and self.idempotency is None
            and (self.batch is None or not self.batch.is_followed)
            and all(job.extras is NO_EXTRAS for job in self.jobs)
        )

    def traced(self, trace: str) -> "Submission":
        """Return it as one whose jobs belong to the trace."""
        return replace(self, jobs=tuple(replace(job, extras=replace(job.extras, trace=trace)) for job in self.jobs))


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a submission: its jobs in their order, and the batch they are in."""

    jobs: Sequence[Stored]
    batch_id: UUID | None = None
    replayed: bool = False
    """The answer to an earlier request with the same idempotency key."""


@dataclass(frozen=True, slots=True)
class Commit:
    """An answer for each submission, in order, and what is to be dispatched now."""

    answers: list[Accepted | DistriQueueError]
    ready: list[Dispatch]


class _Raced(Exception):
    """What was free when looked at was taken when stored."""


class SubmissionStore:
    """Stores what needs a look; see JobStore.insert for the rest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, submissions: Sequence[Submission]) -> Commit:
        """Store all that can be, in one transaction, and answer each.

        An error among the answers is of its submission alone: Conflict, InvalidRequest, IdempotencyKeyReused,
        IdempotencyKeyInFlight. Raises StoreUnavailable: then nothing is known of any, and only an idempotency key makes
        it safe to send one again.
        """
        for _ in range(TRIES):
            try:
                return await again(lambda: self._accept(submissions))
            except _Raced:
                continue
        raise StoreUnavailable("too many submissions with the same ids or keys at the same time")

    async def forget_keys(self, *, older_than_s: float, limit: int, epoch: int) -> int:
        """Forget idempotency keys that are old enough; return how many."""
        async with self._database.transaction(epoch=epoch) as connection:
            done = await connection.execute(idempotency.SQL["forget"], older_than_s, limit)
        return int(done.rpartition(" ")[2])

    async def _accept(self, submissions: Sequence[Submission]) -> Commit:
        async with self._database.transaction() as connection:
            look = _Look(submissions)
            await _look_at_idempotency_keys(connection, look)
            await _look_at_ids(connection, look)
            parents = await _look_at_keys_and_parents(connection, look)
            stored, ready = await _store(connection, look, parents)
            for n in look.open():
                look.answers[n] = look.accepted(n, stored)
            await _keep_idempotency_keys(connection, look)
            for n, first in look.same.items():
                answer = look.answers[first]
                if isinstance(answer, Accepted):
                    look.answers[n] = replace(answer, replayed=True)
        return Commit([answer for answer in look.answers if answer is not None], ready)


@dataclass(slots=True)
class _Look:
    """What was found so far; a submission without an answer is still to be stored."""

    submissions: Sequence[Submission]
    answers: list[Accepted | DistriQueueError | None] = field(init=False)
    existing: dict[UUID, UUID] = field(default_factory=dict)
    """By the new job's id: the job with its unique key, old or new, that takes its place."""
    old: dict[UUID, Stored] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)
    """By a submission's number: that of the one before it with the same idempotency key and request."""

    def __post_init__(self) -> None:
        self.answers = [None] * len(self.submissions)

    def open(self) -> list[int]:
        """Return the numbers of those without an answer."""
        return [n for n, answer in enumerate(self.answers) if answer is None]

    def jobs(self) -> Iterator[tuple[int, NewJob]]:
        """Return the jobs to store with their submissions' numbers."""
        for n in self.open():
            for job in self.submissions[n].jobs:
                if job.id not in self.existing:
                    yield n, job

    def accepted(self, n: int, stored: dict[UUID, Stored]) -> Accepted:
        """Return the answer of one that was stored."""
        submission = self.submissions[n]
        jobs = []
        for job in submission.jobs:
            instead = self.existing.get(job.id)
            if instead is None:
                jobs.append(stored[job.id])
            else:
                there = self.old.get(instead) or stored[instead]
                jobs.append(Stored(there.id, there.created_at, there.status, is_new=False))
        return Accepted(jobs, None if submission.batch is None else submission.batch.id)

    def refuse(self, n: int, error: DistriQueueError) -> None:
        """Answer one with an error."""
        self.answers[n] = error


async def _look_at_idempotency_keys(connection: Any, look: _Look) -> None:
    keys = {n: key for n in look.open() if (key := look.submissions[n].idempotency) is not None}
    for n, answer in (await idempotency.first_answers(connection, keys)).items():
        if isinstance(answer, int):
            look.answers[n] = idempotency.in_flight(keys[n])  # unless the other is accepted
            look.same[n] = answer
        else:
            look.answers[n] = _replay(answer) if isinstance(answer, str) else answer


async def _look_at_ids(connection: Any, look: _Look) -> None:
    chosen = [job.id for n, job in look.jobs() if look.submissions[n].own_ids]
    if not chosen:
        return
    taken = {row["id"] for row in await connection.fetch(SQL["taken_ids"], chosen)}
    for n in look.open():
        ids = [job.id for job in look.submissions[n].jobs]
        clash = sorted(taken.intersection(ids))
        if clash:
            look.refuse(n, Conflict(f"a job with the id {clash[0]} exists already"))
        else:
            taken.update(ids)


async def _look_at_keys_and_parents(connection: Any, look: _Look) -> dict[UUID, bool]:
    """Look again without each submission whose parents are refused: it takes no unique key from another after all."""
    while True:
        look.existing.clear()
        clashes = await _look_at_unique_keys(connection, look)
        parents, refused = await _look_at_parents(connection, look, set(look.open()) - clashes.keys())
        if not refused:
            for n, error in clashes.items():
                look.refuse(n, error)
            return parents
        for n, error in refused.items():
            look.refuse(n, error)


async def _look_at_unique_keys(connection: Any, look: _Look) -> dict[int, DistriQueueError]:
    """Find who has or takes each key; return whom that leaves out."""
    keys = {key for _, job in look.jobs() if (key := job.extras.unique_key) is not None}
    if not keys:
        return {}
    clashes: dict[int, DistriQueueError] = {}
    holders: dict[str, UUID] = {}
    for row in await connection.fetch(SQL["taken_keys"], sorted(keys)):
        holders[row["unique_key"]] = row["id"]
        look.old[row["id"]] = Stored(row["id"], row["created_at"], Status(row["status"]))
    for n in look.open():
        taking: dict[str, UUID] = {}
        instead: dict[UUID, UUID] = {}
        clash: DistriQueueError | None = None
        for job in look.submissions[n].jobs:
            key = job.extras.unique_key
            if key is None:
                continue
            holder = holders.get(key) or taking.get(key)
            if holder is None:
                taking[key] = job.id
            elif job.extras.on_conflict == "return_existing":
                instead[job.id] = holder
            else:
                clash = clash or Conflict(f"an unfinished job, {holder}, has the uniqueKey {key!r}")
        clash = clash or _circle(look.submissions[n].jobs, instead)
        if clash is not None:
            clashes[n] = clash
        else:
            holders |= taking
            look.existing |= instead
    return clashes


def _circle(jobs: Sequence[NewJob], instead: Mapping[UUID, UUID]) -> DistriQueueError | None:
    """Tell of jobs that would wait for each other because one of them takes another's place."""
    if not instead:
        return None
    graph = {
        job.id: {instead.get(parent, parent) for parent in job.extras.parents}
        for job in jobs
        if job.id not in instead and job.extras.parents
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        message = (
            f"with the same uniqueKey as another, these wait for each other: {' → '.join(map(str, exc.args[1][:6]))}"
        )
        return InvalidRequest(f"dependsOn: {message}", errors=[{"field": "dependsOn", "message": message}])
    return None


async def _look_at_parents(
    connection: Any, look: _Look, among: Set[int]
) -> tuple[dict[UUID, bool], dict[int, DistriQueueError]]:
    """Lock the parents that are stored already: return of each whether it has ended; and whose parents nobody knows."""
    new: set[UUID] = set()
    named: dict[int, set[UUID]] = {}
    for n, job in look.jobs():
        if n in among:
            new.add(job.id)
            if job.extras.parents:
                named.setdefault(n, set()).update(job.extras.parents)
    if not named:
        return {}, {}
    wanted: dict[int, set[UUID]] = {}
    for n, parents in named.items():
        own = {job.id for job in look.submissions[n].jobs}
        by_key = {look.existing[parent] for parent in parents & own & look.existing.keys()}
        # By its key a job of another submission may be new, too; by its id not, or two submissions could make a circle.
        wanted[n] = parents - own | by_key - new
    rows = await connection.fetch(SQL["lock_parents"], sorted(set().union(*wanted.values())))
    ended = {row["id"]: row["ended"] for row in rows}
    refused: dict[int, DistriQueueError] = {}
    for n, parents in wanted.items():
        unknown = sorted(parents - ended.keys())
        if unknown:
            message = f"there is no job {unknown[0]}"
            refused[n] = InvalidRequest(f"dependsOn: {message}", errors=[{"field": "dependsOn", "message": message}])
    return ended, refused


async def _store(connection: Any, look: _Look, parents: dict[UUID, bool]) -> tuple[dict[UUID, Stored], list[Dispatch]]:
    # By unique key and id, so that gateways which store the same ones wait for each other in one order.
    jobs = sorted((job for _, job in look.jobs()), key=lambda job: (job.extras.unique_key or "", job.id))
    sizes = Counter(job.batch_id for job in jobs)
    batches = [
        replace(batch, jobs=sizes[batch.id])  # without those whose unique key another job has already
        for n in look.open()
        if (batch := look.submissions[n].batch) is not None
    ]
    if batches:
        await insert_batches(connection, batches)
    if not jobs:
        return {}, []
    lines = {job.id: tuple(dict.fromkeys(look.existing.get(each, each) for each in job.extras.parents)) for job in jobs}
    edges = [
        (job.id, parent, place, not job.extras.run_anyway) for job in jobs for place, parent in enumerate(lines[job.id])
    ]
    followed = {parent for _, parent, _, _ in edges}
    in_followed_batch = {batch.id for batch in batches if batch.is_followed}
    rows = await connection.fetch(
        SQL["insert_with_extras"],
        *columns(jobs),
        *extra_columns(jobs, lines, lambda job: job.id in followed or job.batch_id in in_followed_batch),
    )
    if len(rows) < len(jobs):
        raise _Raced
    stored = {row["id"]: Stored(row["id"], row["created_at"], Status(row["status"])) for row in rows}
    ready = [job.dispatch() for job in jobs if stored[job.id].status is Status.PENDING]
    if edges:
        await connection.execute(SQL["insert_edges"], *map(list, zip(*edges, strict=True)))
        await connection.execute(SQL["follow_parents"], sorted(parents))
        ready += await follow_up(connection, sorted(id_ for id_, ended in parents.items() if ended), children_only=True)
    keys = {job.extras.concurrency_key for job in jobs if stored[job.id].status is Status.BLOCKED}
    ready += await admit(connection, keys)
    if edges or keys - {None}:
        rows = await connection.fetch(JOBS["stored"], list(stored))
        stored = {row["id"]: Stored(row["id"], row["created_at"], Status(row["status"])) for row in rows}
    return stored, ready


async def _keep_idempotency_keys(connection: Any, look: _Look) -> None:
    kept = [
        (key, _written(answer))
        for submission, answer in zip(look.submissions, look.answers, strict=True)
        if (key := submission.idempotency) is not None and isinstance(answer, Accepted) and not answer.replayed
    ]
    await idempotency.keep(connection, kept)


def _written(answer: Accepted) -> str:
    jobs = [[job.id, job.created_at.isoformat(), job.status.value, job.is_new] for job in answer.jobs]
    return to_json({"batchId": answer.batch_id, "jobs": jobs}).decode()


def _replay(text: str) -> Accepted:
    kept = from_json(text)
    jobs = [
        Stored(UUID(id_), datetime.fromisoformat(created_at), Status(status), is_new=is_new)
        for id_, created_at, status, is_new in kept["jobs"]
    ]
    return Accepted(jobs, kept["batchId"] and UUID(kept["batchId"]), replayed=True)
