"""Makes moves concrete by what was seen last, and carries them out: one, or two in the same moment."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from distriqueue.core.errors import Conflict, StoreUnavailable
from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch, Report, ReportStatus
from distriqueue.core.states import CLAIMABLE, Status
from distriqueue.store.jobs import NO_EXTRAS, Extras, NewBatch, NewJob
from distriqueue.store.submissions import Accepted, Submission
from tests.integration.conftest import new_job
from tests.integration.lives import audit
from tests.integration.lives.ground import EPOCH, Ground
from tests.integration.lives.ledger import Ledger, Step
from tests.integration.lives.moves import (
    PRIORITIES,
    WORKERS,
    Cancel,
    JobWish,
    Lead,
    Move,
    ReportWish,
    Retry,
    SubmissionWish,
    Submit,
    Tell,
)

HOOK: Final = "http://receiver/"
Act: TypeAlias = Coroutine[Any, Any, None]


class Player:
    """What it knows of jobs is what the ledger has seen of them."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.ledger = Ledger()
        self.limits: Mapping[str, int] | None = None
        """The limit of each concurrency key; None: each job brings one of its own."""
        self.is_sound = True
        """False once a step went wrong: what comes after it says nothing."""
        self._step = Step()
        self._sent: list[Report] = []

    def do(self, *planned: Move, lag: int = 0, resting: Priority | None = None) -> None:
        """Carry moves out, all at once, the second one `lag` round trips after the first."""
        self.play(*(act for move in planned if (act := self._act(move)) is not None), lag=lag, resting=resting)

    def play(self, *acts: Act, lag: int = 0, resting: Priority | None = None) -> None:
        """Carry acts out, all at once, and look at what has become of it."""
        if not acts:
            return
        self.is_sound = False
        held_back = resting is not None or bool(self.ledger.allowance)
        self._step = Step(alone=len(acts) == 1, resting=resting, held_back=held_back)
        self.ground.tally.steps += 1
        self.ground.run(self._and_look(acts, lag))
        self.is_sound = True

    async def insert(self, jobs: Sequence[NewJob]) -> None:
        """Store jobs by the short way."""
        for stored in (await self.ground.jobs.insert(jobs)).values():
            self._step.accepted.add(stored.id)
            self._step.ready.append((stored.id, 1))

    async def _and_look(self, acts: Sequence[Coroutine[Any, Any, None]], lag: int) -> None:
        started = (self._after(n * lag, act) for n, act in enumerate(acts))
        for error in await asyncio.gather(*started, return_exceptions=True):
            if isinstance(error, StoreUnavailable) and not self._step.alone:
                self.ground.tally.collisions += 1
            elif error is not None:
                raise error
        if not self._step.alone:
            # Who waits in line may have been passed over, being locked by the other: the leader looks after that.
            await self.ground.duties.admit("", limit=100, epoch=EPOCH)
        seen = await self.ground.look(self.ledger.seq)
        self.ground.tally.events += len(seen.events)
        self.ground.tally.transitions.update((row["was"], row["status"]) for row in seen.events)
        audit.look(self.ledger, seen, self._step)

    async def _after(self, round_trips: int, act: Coroutine[Any, Any, None]) -> None:
        for _ in range(round_trips):
            await self.ground.database.fetch("SELECT")
        await act

    def _act(self, move: Move) -> Coroutine[Any, Any, None] | None:
        known = self.ledger.jobs()
        match move:
            case Submit():
                return self.accept([self._submission(wish, known) for wish in move.wishes])
            case _ if not known:
                return None
            case Tell():
                reports = [report for wish in move.wishes for report in self._reports(wish)]
                return self.tell(reports) if reports else None
            case Cancel():
                return self._cancel(picked(move.picks, [*self.ledger.jobs(Status.RUNNING), *known]))
            case Retry():
                ended = self.ledger.jobs(Status.FAILED, Status.TIMEOUT, Status.CANCELLED)
                return self._retry(picked(move.picks, [*ended, *known]), move.per_s)
            case Lead():
                return self.lead(move)

    async def accept(self, submissions: Sequence[Submission]) -> None:
        """A gateway stores jobs that need a look."""
        commit = await self.ground.submissions.accept(submissions)
        self._step.gave(commit.ready)
        for answer in commit.answers:
            if isinstance(answer, Accepted):
                self._step.accepted |= {stored.id for stored in answer.jobs if stored.is_new}
            elif not isinstance(answer, Conflict) and "same uniqueKey" not in answer.message:
                raise answer

    async def tell(self, reports: Sequence[Report]) -> None:
        """A gateway applies reports."""
        self._sent += reports
        applied = await self.ground.reports.apply(reports)
        self._step.reports += zip(reports, applied.answers, strict=True)
        self._step.gave(applied.ready)

    async def _cancel(self, ids: Sequence[UUID]) -> None:
        done = await self.ground.jobs.cancel_many(ids)
        self._step.cancelled |= {id_ for id_, status in done.statuses.items() if status is Status.CANCELLED}
        self._step.gave(done.ready)

    async def _retry(self, ids: Sequence[UUID], per_s: float | None) -> None:
        try:
            done = await self.ground.jobs.retry_many(ids, per_s=per_s)
        except Conflict:
            return
        self._step.retried |= set(done.ids)
        self._step.gave(done.ready)

    async def lead(self, move: Lead) -> None:
        """Time passes, and the leader does its duty."""
        duties, limit, known = self.ground.duties, move.limit, self.ledger.jobs()
        self._step.duties.add(move.duty)
        match move.duty:
            case "promote":
                waiting = self.ledger.jobs(Status.SCHEDULED, Status.RETRYING)
                await self.ground.fall_due(picked(move.picks, waiting))
                self._step.gave((await duties.promote(limit=limit, epoch=EPOCH)).ready)
            case "expire":
                await self.ground.run_late(picked(move.picks, known))
                self._step.gave((await duties.expire(limit=limit, epoch=EPOCH)).ready)
            case "lose" | "overrun":
                if move.duty == "lose":
                    await self.ground.silence(WORKERS[move.picks[0] % len(WORKERS)])
                else:
                    await self.ground.overrun(picked(move.picks, self.ledger.jobs(Status.RUNNING) or known))
                self._step.gave(list((await self.ground.reap(limit=limit)).ready))
                await self.ground.heartbeats()
            case "follow_up":
                self._step.gave((await duties.follow_up(limit=limit, epoch=EPOCH)).ready)
            case "admit":
                self._step.gave((await duties.admit("", limit=limit, epoch=EPOCH))[1])
            case "queued":
                await self._queue(picked(move.picks, self.ledger.jobs(Status.PENDING) or known), stale=limit == 1)
            case "take_back":
                later = datetime.now(UTC) + timedelta(hours=1)
                self._step.gave(await duties.take_back(PRIORITIES, queued_before=later, limit=limit, epoch=EPOCH))

    async def _queue(self, ids: Sequence[UUID], *, stale: bool) -> None:
        """The broker confirms dispatches, perhaps of attempts that are over."""
        rows = [self.ledger.rows[id_] for id_ in dict.fromkeys(ids)]
        sent = [Dispatch(row["id"], row["attempt"] - stale, row["type"], row["priority"], {}, 1.0) for row in rows]
        if not stale:
            self._step.queued |= {row["id"] for row in rows}
        await self.ground.jobs.mark_queued(sent)

    def _submission(self, wish: SubmissionWish, known: Sequence[UUID]) -> Submission:
        batch = NewBatch(
            new_job().id,
            len(wish.jobs),
            sequential=wish.sequential,
            stop_on_failure=wish.stop,
            max_concurrent=wish.max_concurrent,
            callback_url=HOOK if wish.callback else None,
        )
        jobs = [self._job(each, known, batch.id if wish.is_batch else None) for each in wish.jobs]
        for n, each in enumerate(wish.jobs):
            others = jobs[n + 1 :] if wish.backwards else jobs[:n]
            if others and not (wish.is_batch and wish.sequential):
                siblings = tuple(others[pick % len(others)].id for pick in each.siblings)
                jobs[n] = _waiting_for(jobs[n], siblings)
        if wish.is_batch and wish.sequential:
            for n in range(1, len(jobs)):
                extras = replace(jobs[n].extras, parents=(jobs[n - 1].id,), run_anyway=not wish.stop)
                jobs[n] = replace(jobs[n], extras=extras)
        if wish.is_batch and wish.max_concurrent is not None:
            key, limit = f"batch:{batch.id}", wish.max_concurrent
            jobs = [
                replace(job, extras=replace(job.extras, concurrency_key=key, concurrency_limit=limit)) for job in jobs
            ]
        return Submission(tuple(jobs), batch=batch if wish.is_batch else None)

    def _job(self, wish: JobWish, known: Sequence[UUID], batch_id: UUID | None) -> NewJob:
        now = datetime.now(UTC)
        limit = wish.limit if self.limits is None or wish.key is None else self.limits[wish.key]
        extras = Extras(
            expires_at=now + timedelta(hours=2) if wish.expires == "at" else None,
            queue_timeout_s=3600 if wish.expires == "queue" else None,
            unique_key=wish.unique,
            on_conflict="return_existing" if wish.existing else "reject",
            concurrency_key=wish.key,
            concurrency_limit=limit if wish.key is not None else None,
            callback_url=HOOK if wish.callback else None,
            parents=tuple(dict.fromkeys(picked(wish.parents, known))),
            run_anyway=wish.anyway,
        )
        return new_job(
            type=wish.type,
            priority=wish.priority,
            max_retries=wish.max_retries,
            due_at=now + timedelta(hours=1) if wish.later else None,
            batch_id=batch_id,
            extras=NO_EXTRAS if extras == NO_EXTRAS else extras,
        )

    def _reports(self, wish: ReportWish) -> list[Report]:
        if wish.say == "again":
            return [self._sent[wish.pick % len(self._sent)]] if self._sent else []
        if wish.say == "late":
            claimed = self.ledger.claimed()
            return [report_of(*claimed[wish.pick % len(claimed)], wish.end)] if claimed else []
        runs = wish.say in ("claim", "run")
        fitting = self.ledger.jobs(*CLAIMABLE) if runs else self.ledger.jobs(Status.RUNNING)
        row = self.ledger.rows[picked([wish.pick], fitting or self.ledger.jobs())[0]]
        attempt = max(row["attempt"] + wish.off, 1)
        worker = WORKERS[wish.worker] if runs or wish.stranger or row["worker_id"] is None else row["worker_id"]
        if wish.say == "progress":
            return [report_of(row["id"], attempt, worker, progress=wish.pick)]
        claim = report_of(row["id"], attempt, worker)
        end = report_of(row["id"], attempt, worker, wish.end, retryable=wish.retryable)
        return [claim] if wish.say == "claim" else [end] if wish.say == "end" else [end, claim]

    def end(self, id_: UUID, status: ReportStatus) -> Report:
        """Return what its worker says of a running job."""
        row = self.ledger.rows[id_]
        return report_of(id_, row["attempt"], row["worker_id"], status)


def picked(picks: Sequence[int], ids: Sequence[UUID]) -> list[UUID]:
    """Return the jobs that these numbers stand for; none when there are none."""
    return [ids[pick % len(ids)] for pick in picks] if ids else []


def _waiting_for(job: NewJob, siblings: Sequence[UUID]) -> NewJob:
    parents = tuple(dict.fromkeys((*job.extras.parents, *siblings)))
    return replace(job, extras=replace(job.extras, parents=parents)) if siblings else job


def report_of(
    job_id: UUID, attempt: int, worker: str, status: ReportStatus = ReportStatus.RUNNING, **said: Any
) -> Report:
    """Return a report, a claim unless it says more."""
    return Report(job_id=UUID(int=job_id.int), attempt=attempt, status=status, worker_id=worker, **said)
