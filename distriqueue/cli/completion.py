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
    workers = _listed("/workers", size=1000)
    handled = (type_ for worker in workers for type_ in worker["types"])
    return _starting(incomplete, [*SHIPPED, *(type_ for type_ in handled if not type_.startswith(OURS))])


def queues(incomplete: str) -> list[str]:
    """Complete a queue."""
    return _starting(incomplete, [priority.queue for priority in Priority])


def workers(incomplete: str) -> list[str]:
    """Complete a worker's id."""
    return _starting(incomplete, [each["workerId"] for each in _listed("/workers", size=1000)])


def schedules(incomplete: str) -> list[str]:
    """Complete the name of a schedule."""
    return _starting(incomplete, [each["name"] for each in _listed("/schedules", size=100, fires=0)])


def jobs(incomplete: str) -> list[str]:
    """Complete the id of one of the newest jobs."""
    return _starting(incomplete, [each["id"] for each in _listed("/jobs", size=_RECENT)])


def batches(incomplete: str) -> list[str]:
    """Complete the id of one of the newest batches."""
    return _starting(incomplete, [each["id"] for each in _listed("/batches", size=_RECENT)])


def limited_types(incomplete: str) -> list[str]:
    """Complete a job type that has a rate limit."""
    return _starting(incomplete, [each["type"] for each in _listed("/rate-limits")])


def fingerprints(incomplete: str) -> list[str]:
    """Complete the fingerprint of a group of dead letters."""
    return _starting(incomplete, [each["fingerprint"] for each in _listed("/dead-letters")])


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


def _listed(path: str, **query: Any) -> list[dict[str, Any]]:
    """Ask the gateway for a list; nothing when it does not answer, as a completion has nobody to tell."""
    from distriqueue.cli.gateway import Gateway  # noqa: PLC0415
    from distriqueue.cli.home import gateway  # noqa: PLC0415
    from distriqueue.cli.options import home_of_environment, url_of_environment  # noqa: PLC0415

    try:
        callee = gateway(home_of_environment(), url_of_environment())
        with Gateway(callee, patience_s=0.0, timeout_s=ANSWER_S) as found:
            answer = found.call("GET", path, query=query)
    except DistriQueueError:
        return []
    rows: list[dict[str, Any]] = answer.get("content", []) if isinstance(answer, dict) else answer
    return rows
