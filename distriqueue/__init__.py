"""What the services of DistriQueue share, and what its users import.

    from distriqueue import Client

    with Client() as client:
        print(client.submit("calculate", {"numbers": [1, 2, 3]}).result(timeout=30))

The names below are loaded when they are first used: services import this package too, and need no client.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from distriqueue.core.errors import (
        Conflict,
        Discard,
        DistriQueueError,
        Forbidden,
        InvalidRequest,
        NotFound,
        Overloaded,
        Retry,
        Unauthorized,
        Unavailable,
    )
    from distriqueue.core.job import Priority
    from distriqueue.core.states import Status
    from distriqueue.sdk.async_client import AsyncClient
    from distriqueue.sdk.async_job import AsyncJob
    from distriqueue.sdk.client import Client
    from distriqueue.sdk.errors import (
        EventsLost,
        GatewayUnreachable,
        JobCancelled,
        JobFailed,
        JobNotCompleted,
        JobTimedOut,
        ResultTimeout,
        UnexpectedAnswer,
    )
    from distriqueue.sdk.handle import Batch, Page
    from distriqueue.sdk.job import Job
    from distriqueue.sdk.models import BatchSnapshot, ErrorSnapshot, JobEvent, JobSnapshot
    from distriqueue.sdk.submission import NewJob

__version__ = version("distriqueue")

_HOMES: Final = {
    "distriqueue.core.errors": (
        "Conflict",
        "Discard",
        "DistriQueueError",
        "Forbidden",
        "InvalidRequest",
        "NotFound",
        "Overloaded",
        "Retry",
        "Unauthorized",
        "Unavailable",
    ),
    "distriqueue.core.job": ("Priority",),
    "distriqueue.core.states": ("Status",),
    "distriqueue.sdk.async_client": ("AsyncClient",),
    "distriqueue.sdk.async_job": ("AsyncJob",),
    "distriqueue.sdk.client": ("Client",),
    "distriqueue.sdk.errors": (
        "EventsLost",
        "GatewayUnreachable",
        "JobCancelled",
        "JobFailed",
        "JobNotCompleted",
        "JobTimedOut",
        "ResultTimeout",
        "UnexpectedAnswer",
    ),
    "distriqueue.sdk.handle": ("Batch", "Page"),
    "distriqueue.sdk.job": ("Job",),
    "distriqueue.sdk.models": ("BatchSnapshot", "ErrorSnapshot", "JobEvent", "JobSnapshot"),
    "distriqueue.sdk.submission": ("NewJob",),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Batch",
    "BatchSnapshot",
    "Client",
    "Conflict",
    "Discard",
    "DistriQueueError",
    "ErrorSnapshot",
    "EventsLost",
    "Forbidden",
    "GatewayUnreachable",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobFailed",
    "JobNotCompleted",
    "JobSnapshot",
    "JobTimedOut",
    "NewJob",
    "NotFound",
    "Overloaded",
    "Page",
    "Priority",
    "ResultTimeout",
    "Retry",
    "Status",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
