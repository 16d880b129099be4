"""What a client may say of jobs that come together, and how that makes them wait for each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.job import new_job_id
from distriqueue.store.jobs import NewBatch, NewJob
from gateway.api.openapi import REF
from gateway.api.problems import field_errors, invalid
from gateway.api.submission import WHOLE, CallbackUrl, Name, read_submission

MAX_CONCURRENT: Final = 1000
JOBS: Final = {"type": "array", "minItems": 1, "items": {"$ref": REF.format(model="JobSubmission")}}


class BatchSubmission(BaseModel):
    """Jobs that are stored together or not at all."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True, title="BatchSubmission")

    jobs: Annotated[list[Any], WithJsonSchema(JOBS)] = Field(
        description="The jobs, each as for `POST /jobs`. By `id` and `dependsOn` they may wait for each other."
    )
    batch_name: Name | None = Field(default=None, description="A name for people.")
    sequential: StrictBool = Field(default=False, description="Each job waits for the one before it.")
    stop_on_failure: StrictBool = Field(
        default=False, description="Once a job has failed for good, those that have not started are cancelled."
    )
    max_concurrent: Annotated[StrictInt, Field(ge=1, le=MAX_CONCURRENT), WHOLE] | None = Field(
        default=None, description="How many of them may run at once; they share a concurrency key for that."
    )
    callback_url: CallbackUrl | None = Field(default=None, description="Gets a signed webhook when all have ended.")
    partial: StrictBool = Field(default=False, description="Store the good ones although others are wrong.")


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """A checked batch: what is to be stored, and what was wrong with the rest."""

    batch: NewBatch
    jobs: tuple[NewJob, ...]
    ids: tuple[UUID | None, ...]
    """In the order of the request; None for what was wrong."""
    errors: Sequence[Mapping[str, object]]
    own_ids: bool


def read_batch(body: object, *, most: int) -> ReadBatch:
    """Check a batch, a bare array being one too; InvalidRequest names each wrong field."""
    asked = _read(body)
    if not 1 <= len(asked.jobs) <= most:
        raise invalid([{"field": "jobs", "message": f"a batch has 1 to {most} jobs, not {len(asked.jobs)}"}])
    batch_id = new_job_id()
    good: dict[int, NewJob] = {}
    wrong: set[UUID] = set()
    errors: list[Mapping[str, object]] = []
    own_ids = False
    for index, item in enumerate(asked.jobs):
        try:
            job, own_id = read_submission(item, where=f"jobs.{index}", batch_id=batch_id)
        except InvalidRequest as exc:
            errors += [{**error, "index": index} for error in exc.errors]
            wrong |= _own_id(item)
            continue
        own_ids = own_ids or own_id
        good[index] = job
    if errors and not asked.partial:
        raise invalid(errors)
    errors += _leave_out(good, wrong)
    ids = tuple(good[index].id if index in good else None for index in range(len(asked.jobs)))
    jobs = list(good.values())
    if len({job.id for job in jobs}) < len(jobs):
        raise invalid([{"field": "jobs", "message": "two jobs have the same id"}])
    if asked.max_concurrent is not None:
        jobs = _share_slots(jobs, f"batch:{batch_id}", asked.max_concurrent)
    if asked.sequential:
        jobs = _in_sequence(jobs, run_anyway=not asked.stop_on_failure)
    _refuse_cycles(jobs)
    batch = NewBatch(
        id=batch_id,
        jobs=len(jobs),
        name=asked.batch_name,
        sequential=asked.sequential,
        stop_on_failure=asked.stop_on_failure,
        max_concurrent=asked.max_concurrent,
        callback_url=asked.callback_url,
    )
    return ReadBatch(batch, tuple(jobs), ids, errors, own_ids)


def _read(body: object) -> BatchSubmission:
    if isinstance(body, list):
        return BatchSubmission(jobs=body)
    try:
        return BatchSubmission.model_validate(body)
    except ValidationError as exc:
        raise invalid(field_errors(exc.errors(include_url=False))) from None


def _own_id(item: object) -> set[UUID]:
    """Return the id that a wrong job has all the same."""
    try:
        return {UUID(item["id"])} if isinstance(item, dict) and isinstance(item.get("id"), str) else set()
    except ValueError:
        return set()


def _leave_out(good: dict[int, NewJob], wrong: set[UUID]) -> list[Mapping[str, object]]:
    """Leave out what waits for a job that is wrong, and what waits for that."""
    errors: list[Mapping[str, object]] = []
    while orphans := [index for index, job in good.items() if not wrong.isdisjoint(job.extras.parents)]:
        for index in orphans:
            wrong.add(good.pop(index).id)
            message = "a job of this batch that it waits for is wrong"
            errors.append({"field": f"jobs.{index}.dependsOn", "message": message, "index": index})
    return errors


def _share_slots(jobs: Iterable[NewJob], key: str, limit: int) -> list[NewJob]:
    shared = []
    for job in jobs:
        if job.extras.concurrency_key is not None:
            message = "a job with a concurrencyKey of its own cannot be in a batch with maxConcurrent"
            raise invalid([{"field": "maxConcurrent", "message": message}])
        shared.append(replace(job, extras=replace(job.extras, concurrency_key=key, concurrency_limit=limit)))
    return shared


def _in_sequence(jobs: Sequence[NewJob], *, run_anyway: bool) -> list[NewJob]:
    line = list(jobs[:1])
    for before, job in pairwise(jobs):
        if job.extras.parents:
            message = "a job that depends on others cannot be in a sequential batch"
            raise invalid([{"field": "sequential", "message": message}])
        line.append(replace(job, extras=replace(job.extras, parents=(before.id,), run_anyway=run_anyway)))
    return line


def _refuse_cycles(jobs: Iterable[NewJob]) -> None:
    graph = {job.id: job.extras.parents for job in jobs if job.extras.parents}
    if not graph:
        return
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        cycle = [str(job_id) for job_id in exc.args[1]]
        shown = " → ".join(cycle if len(cycle) <= 6 else [*cycle[:3], "…", *cycle[-2:]])
        raise invalid([{"field": "jobs", "message": f"these wait for each other in a circle: {shown}"}]) from None
