"""What a test says of jobs that should have been submitted; of a real client's as well as of a `LocalClient`'s."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import to_jsonable_python

from distriqueue.sdk.client import Client
from distriqueue.sdk.job import Job
from distriqueue.sdk.models import JobSnapshot
from distriqueue.sdk.submission import EMPTY, JobType, Payload, options_body, type_of

_SHOWN: Final = 5


def assert_submitted(
    client: Client, job: JobType, payload: Payload = EMPTY, *, times: int | None = None, **options: Any
) -> tuple[Job, ...]:
    """Check that jobs of the type were submitted that have this in their payload, and these options; return them.

    A payload matches that has at least these members, whatever else it has; so do tags and metadata. Without `times`
    one or more are fine; `times=0` checks that there are none. AssertionError tells what was submitted instead.
    """
    type_ = type_of(job)
    expected: dict[str, Any] = {"payload": to_jsonable_python(payload, by_alias=True), **options_body(options)}
    all_of_type = tuple(client.iterate(type=type_))
    matching = tuple(each for each in all_of_type if _contains(_facts(each), expected))
    if len(matching) == times or (times is None and matching):
        return matching
    wanted = "a job" if times is None else f"{times} jobs"
    said = f"{wanted} of type {type_!r} with {expected} expected, {len(matching)} found"
    raise AssertionError(f"{said}; {_told(all_of_type, type_)}")


def _facts(job: Job) -> Mapping[str, Any]:
    snapshot = job.snapshot
    if snapshot is None or snapshot.payload is None:  # a list leaves out what is large
        snapshot = job.refresh().snapshot
    return {} if snapshot is None else _as_sent(snapshot)


def _as_sent(snapshot: JobSnapshot) -> Mapping[str, Any]:
    return snapshot.model_dump(mode="json", by_alias=True)


def _contains(found: Any, expected: Any) -> bool:
    """Tell whether all that is expected is there: members of objects, words of `tags`, and else the same."""
    if isinstance(expected, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and (set(value) <= set(found[name]) if name == "tags" else _contains(found[name], value))
            for name, value in expected.items()
        )
    return bool(found == expected)


def _told(jobs: Iterable[Job], type_: str) -> str:
    shown = [str(_facts(job)["payload"]) for job in jobs]
    if not shown:
        return f"no job of type {type_!r} was submitted"
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"of this type there are, with payload: {', '.join(shown[:_SHOWN])}{more}"
