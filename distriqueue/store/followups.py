"""What follows from the end of jobs, in the transaction that ended them: children, batches, webhooks, slots.

The work is done by the schema's functions `follow_up` and `admit`; whoever ends jobs calls it here for those that are
`followed`, and sends what became pending after the commit. What is not sent then, the dispatcher sends.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from distriqueue.core.messages import Dispatch
from distriqueue.store.rows import dispatch_of
from distriqueue.store.statements import load

SQL: Final = load("followups.sql")


async def follow_up(connection: Any, ended: Sequence[UUID], *, children_only: bool = False) -> list[Dispatch]:
    """Do what follows from these ends, in the caller's transaction; return what is pending now."""
    if not ended:
        return []
    rows = await connection.fetch(SQL["follow_up"], ended, children_only)
    return await dispatches(connection, [row["id"] for row in rows])


async def admit(connection: Any, keys: Iterable[str | None]) -> list[Dispatch]:
    """Give the free slots of these concurrency keys to the first in line, in the caller's transaction."""
    wanted = sorted({key for key in keys if key is not None})
    if not wanted:
        return []
    rows = await connection.fetch(SQL["admit"], wanted)
    return await dispatches(connection, [row["id"] for row in rows])


async def dispatches(connection: Any, ids: Sequence[UUID]) -> list[Dispatch]:
    """Return the dispatches of those of these jobs that are pending and ready now."""
    if not ids:
        return []
    return [dispatch_of(row) for row in await connection.fetch(SQL["dispatches"], ids)]
