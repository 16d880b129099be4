"""What routes note before they act."""

from typing import Protocol

from starlette.requests import Request

from distriqueue.core.access import ANONYMOUS, Caller
from distriqueue.store.access import Entry


class Trail(Protocol):
    """Where entries go."""

    async def append(self, entry: Entry) -> None:
        """Store an entry; StoreUnavailable."""


def caller_of(request: Request) -> Caller:
    """Return who makes the request; anyone, where no gate stands in front of the app."""
    caller: Caller = getattr(request.state, "caller", ANONYMOUS)
    return caller


async def audit(request: Request, action: str, target: str, **details: object) -> None:
    """Note who is about to do what to what. Before it is done: on StoreUnavailable it is not to be done."""
    caller = caller_of(request)
    trail: Trail = request.state.trail
    address = request.client.host if request.client else None
    await trail.append(Entry(caller.name, action, target, details, caller.key_id, address))
