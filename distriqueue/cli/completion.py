"""What the shell completes: values that are few, and what the gateway knows, if it answers at once."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from distriqueue.core.errors import DistriQueueError
from distriqueue.core.job import Priority
from distriqueue.core.states import Status

ANSWER_S: Final = 0.7
"""Longer nobody waits for a completion."""
SHIPPED: Final = ("calculate", "transform", "validate")
OURS: Final = "distriqueue."
"""Types that nobody can submit."""
_RECENT: Final = 25


def statuses(incomplete: str) -> list[str]:
    """Complete a job's status."""
    return _starting(incomplete, Status)


def priorities(incomplete: str) -> list[str]:
    """Complete a priority."""
    return _starting(incomplete, [priority.value.lower() for priority in Priority])


def job_types(incomplete: str) -> list[str]:
    """Complete a job type: what workers handle, and what ships."""
    workers = _asked("/workers", size=1000).get("content", [])
    handled = (type_ for worker in workers for type_ in worker["types"])
    return _starting(incomplete, [*SHIPPED, *(type_ for type_ in handled if not type_.startswith(OURS))])


def queues(incomplete: str) -> list[str]:
    """Complete a queue."""
    return _starting(incomplete, [priority.queue for priority in Priority])


def workers(incomplete: str) -> list[str]:
    """Complete a worker's id."""
    return _starting(incomplete, [each["workerId"] for each in _asked("/workers", size=1000).get("content", [])])


def schedules(incomplete: str) -> list[str]:
    """Complete the name of a schedule."""
    return _starting(incomplete, [each["name"] for each in _asked("/schedules", size=100, fires=0).get("content", [])])


def jobs(incomplete: str) -> list[str]:
    """Complete the id of one of the newest jobs."""
    return _starting(incomplete, [each["id"] for each in _asked("/jobs", size=_RECENT).get("content", [])])


def batches(incomplete: str) -> list[str]:
    """Complete the id of a batch that has jobs among the newest."""
    listed = _asked("/jobs", size=100).get("content", [])
    return _starting(incomplete, [each["batchId"] for each in listed if each["batchId"]])


def fingerprints(incomplete: str) -> list[str]:
    """Complete the fingerprint of a group of dead letters."""
    return _starting(incomplete, [each["fingerprint"] for each in _asked("/dead-letters").get("content", [])])


def filters(incomplete: str) -> list[str]:
    """Complete a filter: its last word."""
    from distriqueue.filterlang import Field, completions  # noqa: PLC0415

    known: dict[Field, Sequence[str]] = {}
    word = incomplete.rpartition(" ")[2]
    if word.startswith(f"{Field.TYPE}:"):
        known[Field.TYPE] = job_types("")
    return completions(incomplete, known)


def _starting(incomplete: str, values: Iterable[str]) -> list[str]:
    lower = incomplete.lower()
    return list(dict.fromkeys(value for value in values if value.lower().startswith(lower)))


def _asked(path: str, **query: Any) -> dict[str, Any]:
    """Ask the gateway; nothing when it does not answer, as a completion has nobody to tell."""
    from distriqueue.cli.gateway import Gateway  # noqa: PLC0415
    from distriqueue.cli.home import gateway  # noqa: PLC0415
    from distriqueue.cli.options import home_of_environment, url_of_environment  # noqa: PLC0415

    try:
        callee = gateway(home_of_environment(), url_of_environment())
        with Gateway(callee, patience_s=0.0, timeout_s=ANSWER_S) as found:
            answer = found.call("GET", path, query=query)
    except DistriQueueError:
        return {}
    return answer if isinstance(answer, dict) else {}
