"""Which move comes next: a job is submitted, claimed, reported, cancelled, retried, lost or expired, in any order."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from distriqueue.core.job import MAX_LOSSES, Priority
from distriqueue.core.messages import ReportStatus
from distriqueue.core.states import CLAIMABLE, TERMINAL, Status
from distriqueue.store.jobs import Extras, NewBatch
from distriqueue.store.submissions import Submission
from tests.integration.conftest import new_job
from tests.integration.lives import audit, moves
from tests.integration.lives.ground import Ground
from tests.integration.lives.moves import PICK, PICKS, TYPES, WORKERS, Lead, Move, Retry, Submit, Tell
from tests.integration.lives.player import HOOK, Player, picked, report_of

MAX_JOBS: Final = 40
LONG: Final = 24
"""A line of children that one transaction does not come to the end of."""


class Lives(RuleBasedStateMachine):
    """One example: what the machine knows of jobs is what the ledger has seen of them."""

    def __init__(self, played_on: Ground) -> None:
        super().__init__()
        self.ground = played_on
        self.ground.tally.examples += 1
        self.player = Player(played_on)
        self.ledger = self.player.ledger
        self.asked = 0
        """How many jobs were posted. What rules are chosen by must not depend on who wins a race."""
        self.ground.run(self.ground.clear())

    @initialize(first=moves.SUBMIT, limits=st.tuples(st.integers(1, 3), st.integers(1, 3)), mixed=st.booleans())
    def begin(self, first: Submit, limits: tuple[int, int], mixed: bool) -> None:
        """All jobs of a key have its limit, or each has one of its own."""
        self.player.limits = None if mixed else dict(zip(moves.KEYS, limits, strict=True))
        self.player.do(first)

    # ---------------------------------------------------------------------------------------------------------- rules

    @precondition(lambda self: self.asked < MAX_JOBS)
    @rule(move=moves.SUBMIT)
    def submit(self, move: Submit) -> None:
        """Store jobs with any of what jobs can have."""
        self.asked += sum(len(wish.jobs) for wish in move.wishes)
        self.player.do(move)

    @precondition(lambda self: self.asked < MAX_JOBS)
    @rule(n=st.integers(1, 4), retries=st.integers(0, 2))
    def submit_plain(self, n: int, retries: int) -> None:
        """Store jobs by the short way."""
        self.asked += n
        self.player.play(self.player.insert([new_job(max_retries=retries) for _ in range(n)]))

    @precondition(lambda self: self.asked < MAX_JOBS)
    @rule(end=st.sampled_from((ReportStatus.COMPLETED, ReportStatus.FAILED)), anyway=st.booleans(), key=st.booleans())
    def submit_a_long_line(self, end: ReportStatus, anyway: bool, key: bool) -> None:
        """Store a line of jobs, each waiting for the one before it, and end the first one."""
        self.asked += MAX_JOBS
        line = [new_job(max_retries=0)]
        for _ in range(LONG):
            extras = Extras(parents=(line[-1].id,), run_anyway=anyway, callback_url=HOOK)
            line.append(new_job(extras=replace(extras, concurrency_key="a", concurrency_limit=2) if key else extras))
        self.player.play(self.player.accept([Submission(tuple(line))]))
        self.player.play(self.player.tell([report_of(line[0].id, 1, "w1"), report_of(line[0].id, 1, "w1", end)]))

    @rule(move=moves.TELL)
    def report(self, move: Tell) -> None:
        """A worker says something: right, again, too late, or of what is not its own."""
        self.player.do(move)

    @rule(move=moves.TELL_MANY)
    def report_many(self, move: Tell) -> None:
        """Reports come in one batch, in any order."""
        self.player.do(move)

    @rule(n=st.integers(1, 5), end=st.sampled_from(moves.ENDS))
    def work(self, n: int, end: ReportStatus) -> None:
        """Workers do what there is to do."""
        wanted = self.ledger.jobs(*CLAIMABLE)[:n]
        claims = [report_of(id_, self.ledger.rows[id_]["attempt"], WORKERS[0]) for id_ in wanted]
        if claims:
            self.player.play(self.player.tell(claims))
        running = self.ledger.jobs(Status.RUNNING)[:n]
        if running:
            self.player.play(self.player.tell([self.player.end(id_, end) for id_ in running]))

    @rule(move=moves.CANCEL)
    def cancel(self, move: moves.Cancel) -> None:
        """A client cancels."""
        self.player.do(move)

    @rule(move=moves.RETRY)
    def retry(self, move: Retry) -> None:
        """A client retries."""
        self.player.do(move)

    @rule(move=moves.LEAD)
    def lead(self, move: Lead) -> None:
        """Time passes, and the leader does a duty."""
        self.player.do(move)

    @rule(pick=PICK, times=st.integers(1, MAX_LOSSES + 1))
    def lose_again_and_again(self, pick: int, times: int) -> None:
        """A job's worker is lost whenever it runs."""
        for id_ in picked([pick], self.ledger.jobs(*CLAIMABLE)):
            for _ in range(times):
                self.player.play(self.player.tell([report_of(id_, self.ledger.rows[id_]["attempt"], WORKERS[0])]))
                self.player.play(self.player.lead(Lead("lose", (0,), 100)))
                waiting = self.ledger.jobs(Status.SCHEDULED, Status.RETRYING)
                self.player.play(self.player.lead(Lead("promote", tuple(range(len(waiting))), 100)))

    @rule(picks=PICKS)
    def time_passes(self, picks: tuple[int, ...]) -> None:
        """Jobs are too late to start, and nobody has noticed yet."""
        self.player.play(self.ground.run_late(picked(picks, self.ledger.jobs())))

    @rule(first=moves.ANY, second=moves.ANY, lag=moves.LAG)
    def at_once(self, first: Move, second: Move, lag: int) -> None:
        """Two processes do something in the same moment."""
        self.player.do(first, second, lag=lag)

    @precondition(lambda self: self.asked < MAX_JOBS)
    @rule(first=moves.RIVAL, second=st.one_of(moves.RIVAL, moves.RETRY, moves.LEAD), lag=moves.LAG)
    def rivals(self, first: Submit, second: Move, lag: int) -> None:
        """Two jobs that may want the same slot, and the same key, come in the same moment."""
        self.asked += 2
        self.player.do(first, second, lag=lag)

    @precondition(lambda self: self.asked < MAX_JOBS)
    @rule(pick=PICK, end=st.sampled_from(moves.ENDS), anyway=st.booleans(), lag=moves.LAG)
    def a_child_comes_as_its_parent_ends(self, pick: int, end: ReportStatus, anyway: bool, lag: int) -> None:
        """The child must not miss the end."""
        self.asked += 1
        for id_ in picked([pick], self.ledger.jobs(*CLAIMABLE)):
            attempt = self.ledger.rows[id_]["attempt"]
            ended = self.player.tell(
                [report_of(id_, attempt, "w1"), report_of(id_, attempt, "w1", end, retryable=False)]
            )
            child = new_job(extras=Extras(parents=(UUID(int=id_.int),), run_anyway=anyway))
            self.player.play(self.player.accept([Submission((child,))]), ended, lag=lag)

    @precondition(lambda self: self.asked < MAX_JOBS)
    @rule(ends=st.tuples(st.sampled_from(moves.ENDS), st.sampled_from(moves.ENDS)), stop=st.booleans(), lag=moves.LAG)
    def a_batch_ends(self, ends: tuple[ReportStatus, ReportStatus], stop: bool, lag: int) -> None:
        """The last two jobs of a batch end in the same moment: one of them must see that all is over."""
        self.asked += 2
        batch = NewBatch(new_job().id, 2, stop_on_failure=stop, callback_url=HOOK)
        pair = [new_job(batch_id=batch.id, max_retries=0) for _ in ends]
        self.player.play(self.player.accept([Submission(tuple(pair), batch=batch)]))
        claims = [report_of(job.id, 1, "w1") for job in pair if self.ledger.rows[job.id]["status"] == Status.PENDING]
        self.player.play(self.player.tell(claims))
        acts = [self.player.tell([report_of(job.id, 1, "w1", end)]) for job, end in zip(pair, ends, strict=True)]
        self.player.play(*acts, lag=lag)

    @rule(lane=st.sampled_from(moves.PRIORITIES), move=moves.TELL_MANY)
    def pause_around(self, lane: Priority, move: Tell) -> None:
        """A lane rests while workers come."""
        self.ground.run(self.ground.pause(lane, paused=True))
        self.player.do(move, resting=lane)
        self.ground.run(self.ground.pause(lane, paused=False))

    @rule(type_=st.sampled_from(TYPES), tokens=st.sampled_from((0, 1, 2, None)))
    def limit(self, type_: str, tokens: int | None) -> None:
        """So many jobs of a type may start, or all."""
        self.ledger.allowance.pop(type_, None)
        if tokens is not None:
            self.ledger.allowance[type_] = tokens
        self.ground.run(self.ground.set_tokens(type_, tokens))

    @invariant()
    def everything_holds(self) -> None:
        """The ledger was asked after every step; what a rule left undone would show here."""
        assert self.player.is_sound
        self.ground.tally.rules += 1

    def teardown(self) -> None:
        """Let everything come to its end: what does not was lost, or waits for ever."""
        if not self.player.is_sound:
            return
        for type_ in TYPES:
            self.limit(type_, None)
        for _ in range(4 * MAX_JOBS):
            open_jobs = [id_ for id_, row in self.ledger.rows.items() if row["status"] not in TERMINAL]
            if not open_jobs:
                break
            self._drain(open_jobs)
        else:
            raise AssertionError(f"these do not end: {[dict(self.ledger.rows[id_]) for id_ in open_jobs]}")
        self.ground.run(audit.close(self.ground, self.ledger))

    def _drain(self, open_jobs: list[UUID]) -> None:
        """All is done that can be done, by rights."""
        if any(self.ledger.rows[id_]["is_late"] for id_ in open_jobs):
            self.player.play(self.player.lead(Lead("expire", (0,), 100)))
        waiting = self.ledger.jobs(Status.SCHEDULED, Status.RETRYING)
        if waiting:
            self.player.play(self.player.lead(Lead("promote", tuple(range(len(waiting))), 100)))
        if any(row["is_left"] for row in self.ledger.rows.values()):
            self.player.play(self.player.lead(Lead("follow_up", (), 100)))
        claims = [report_of(id_, self.ledger.rows[id_]["attempt"], "w1") for id_ in self.ledger.jobs(*CLAIMABLE)]
        ends = [self.player.end(id_, ReportStatus.COMPLETED) for id_ in self.ledger.jobs(Status.RUNNING)]
        ends += [report_of(each.job_id, each.attempt, "w1", ReportStatus.COMPLETED) for each in claims]
        if ends:
            self.player.play(self.player.tell([*ends, *claims]))


def search(played_on: Ground, *, examples: int, steps: int = 30, shrink: bool = True) -> None:
    """Run so many examples; an error says how to break a rule, in the fewest steps when it may shrink them."""
    run_state_machine_as_test(
        lambda: Lives(played_on),  # type: ignore[arg-type]  # a function will do, its documentation says
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
