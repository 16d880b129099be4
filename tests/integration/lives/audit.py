"""Compares what the store says, in answers and in rows, with the log of what has happened."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from distriqueue.core.job import MAX_LOSSES, Priority
from distriqueue.core.messages import Answer, Report, ReportStatus
from distriqueue.core.states import CLAIMABLE, TERMINAL, Status
from distriqueue.store.reports import is_claim
from tests.integration.lives.ground import Ground, Seen
from tests.integration.lives.ledger import WEBHOOK, Attempt, Broken, Ledger, Step, must

LANES: Final = list(Priority)


def look(ledger: Ledger, seen: Seen, step: Step) -> None:
    """Refuse whatever breaks a rule after this step."""
    before, over = ledger.rows, {(id_, n) for id_, life in ledger.lives.items() for n in life.outcomes}
    changed = ledger.read(seen, step)
    for report, answer in step.reports:
        _answered(ledger, report, answer.answer, over, alone=step.alone)
    if step.alone:
        _heard(ledger, before, step)
        _handed_out(ledger, changed, step)
    for fault in (*_faults(ledger), *_faults_together(ledger, seen)):
        raise Broken(fault)


async def close(ground: Ground, ledger: Ledger) -> None:
    """Refuse what is missing once all is over."""
    rows = await ground.database.fetch("SELECT job_id, attempt, worker_id, outcome FROM attempts")
    kept = {(row["job_id"], row["attempt"]): (row["worker_id"], row["outcome"]) for row in rows}
    for id_, life in ledger.lives.items():
        for n, worker in life.workers.items():
            if n < life.attempt:
                said = life.outcomes[n]
                known = kept.get((id_, n), (None, None))
                must(known[0] == worker and said in (None, known[1]), f"{id_}: of attempt {n} only {known} is known")
    for row in await ground.batches():
        must(row["webhooks"] == row["wanted"], f"batch {row['id']}: {row['webhooks']} webhooks, not {row['wanted']}")


def _answered(ledger: Ledger, report: Report, answer: Answer, over: set[Attempt], *, alone: bool) -> None:
    """An answer says of an attempt what its history says."""
    what = f"{report.job_id}: {answer} is said to {report.status} of attempt {report.attempt} by {report.worker_id}"
    life = ledger.lives[report.job_id]
    mine, attempt = life.workers.get(report.attempt) == report.worker_id, (report.job_id, report.attempt)
    if is_claim(report):
        if answer is Answer.ACCEPTED:
            must(mine and attempt not in over, what)
        elif alone:
            must(not mine or report.attempt in life.outcomes, what)
    elif report.status is ReportStatus.RUNNING:
        must(mine or answer is not Answer.ACCEPTED, what)
    elif report.attempt not in life.outcomes:
        must(answer is not Answer.ACCEPTED, what)
    elif (said := life.outcomes[report.attempt]) is not None:
        is_right = mine and said is report.status
        if answer is Answer.ACCEPTED:
            must(is_right, what)
        elif alone or attempt in over:
            must(not is_right, what)


def _heard(ledger: Ledger, before: Mapping[UUID, Any], step: Step) -> None:
    """What had to count has counted, and a job is tried again as often as it may be."""
    ends: defaultdict[Attempt, list[Report]] = defaultdict(list)
    for report, _ in step.reports:
        row, attempt = before[report.job_id], (report.job_id, report.attempt)
        if row["attempt"] != report.attempt:
            continue
        if is_claim(report) and row["status"] in CLAIMABLE and not row["is_late"] and not step.held_back:
            must(report.attempt in ledger.lives[report.job_id].workers, f"{attempt}: a claim was not heard")
        own = row["status"] == Status.RUNNING and row["worker_id"] == report.worker_id
        if own and report.status is not ReportStatus.RUNNING:
            ends[attempt].append(report)
    for (id_, n), reports in ends.items():
        life, row = ledger.lives[id_], before[id_]
        must(n in life.outcomes, f"{id_}: an end of attempt {n} was not heard")
        must(life.went[n] in TERMINAL or not row["cancel_requested"], f"{id_}: goes on after its cancel")
        if len(reports) == 1 and reports[0].status in (ReportStatus.FAILED, ReportStatus.TIMEOUT):
            again = reports[0].retryable and row["failures"] < row["max_retries"] and not row["cancel_requested"]
            must((life.went[n] is Status.RETRYING) == again, f"{id_}: after attempt {n} it was {life.went[n]}")
            must(ledger.rows[id_]["failures"] == row["failures"] + 1, f"{id_}: attempt {n} is not counted as a failure")


def _handed_out(ledger: Ledger, changed: Mapping[UUID, Status], step: Step) -> None:
    """What became pending is dispatched at once, as it is."""
    for id_, attempt in step.ready:
        row = ledger.rows[id_]
        must((row["status"], row["attempt"]) == ("pending", attempt), f"{id_}: is sent out, and is {row['status']}")
    given = {id_ for id_, _ in step.ready}
    for id_, was in changed.items():
        row = ledger.rows[id_]
        if row["status"] == Status.PENDING and row["is_ready"] and was is not Status.QUEUED and not step.held_back:
            must(id_ in given, f"{id_}: became pending, and is left to be found")


def _faults(ledger: Ledger) -> Iterator[str]:
    """Tell what is wrong with single rows."""
    for id_, row in ledger.rows.items():
        status, life = Status(row["status"]), ledger.lives[id_]
        if (status, row["attempt"]) != (life.status, life.attempt):
            yield f"{id_}: its row contradicts its log"
        if status is Status.BLOCKED and row["waits_for"] == 0 and row["concurrency_key"] is None:
            yield f"{id_}: is blocked, and waits for nothing"
        most = row["failures"] > row["max_retries"] or row["losses"] >= MAX_LOSSES
        if most and status not in TERMINAL:
            yield f"{id_}: is {status}, having failed {row['failures']} times and been lost {row['losses']} times"
        if row["is_stopped"] and status not in TERMINAL | {Status.RUNNING} and not life.retried:
            yield f"{id_}: is {status} in a batch that has stopped"


def _faults_together(ledger: Ledger, seen: Seen) -> Iterator[str]:
    """Tell what is wrong between rows."""
    open_edges = Counter(edge["child_id"] for edge in seen.edges if not edge["resolved"])
    webhooks = Counter(edge["parent_id"] for edge in seen.edges if ledger.rows[edge["child_id"]]["type"] == WEBHOOK)
    unique: set[str] = set()
    lines: defaultdict[str, list[Any]] = defaultdict(list)
    for id_, row in ledger.rows.items():
        if row["waits_for"] != open_edges[id_]:
            yield f"{id_}: waits for {row['waits_for']}, and {open_edges[id_]} have not ended"
        if row["callback_url"] is not None and webhooks[id_] != ledger.lives[id_].ends:
            yield f"{id_}: has {webhooks[id_]} webhooks, and {ledger.lives[id_].ends} ends"
        if row["unique_key"] is not None and row["status"] not in TERMINAL:
            if row["unique_key"] in unique:
                yield f"{id_}: is not alone with {row['unique_key']}"
            unique.add(row["unique_key"])
        if row["concurrency_key"] is not None and row["status"] == Status.BLOCKED and row["waits_for"] == 0:
            lines[row["concurrency_key"]].append(row)
    for edge in seen.edges:
        parent = ledger.rows[edge["parent_id"]]
        if not edge["resolved"] and parent["status"] in TERMINAL and not parent["is_left"]:
            yield f"{edge['child_id']}: still waits for its parent {edge['parent_id']}, which has ended"
    for key, line in lines.items():
        head = min(line, key=lambda row: (LANES.index(Priority(row["priority"])), row["ready_at"], row["id"]))
        if ledger.holders(key) < head["concurrency_limit"]:
            yield f"{head['id']}: is first in line for {key}, and {ledger.holders(key)} have a slot of it"
