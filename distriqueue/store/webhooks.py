"""Webhooks as their senders see them: the deliveries of a job or batch, and sending one again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from distriqueue.core.errors import NotFound
from distriqueue.core.messages import Dispatch
from distriqueue.store.database import Database
from distriqueue.store.followups import dispatches
from distriqueue.store.reads import Attempt
from distriqueue.store.statements import load

SQL: Final = load("webhooks.sql")
SHOWN: Final = 100
ATTEMPTS: Final = 20
"""Newest attempts shown of each."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook and how far it is; `payload`, `result` and `error` are JSON text as stored."""

    id: UUID
    status: str
    attempt: int
    max_retries: int
    created_at: datetime
    due_at: datetime | None
    finished_at: datetime | None
    payload: str
    result: str | None
    error: str | None
    attempts: list[Attempt] = field(default_factory=list)
    """The newest, oldest first, their errors without tracebacks."""


class WebhookStore:
    """Reads and replays deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_job(self, job_id: UUID) -> list[Delivery]:
        """Return the webhooks of a job, the newest first."""
        return await self._with_attempts(await self._database.fetch(SQL["of_job"], job_id, SHOWN))

    async def of_batch(self, batch_id: UUID) -> list[Delivery]:
        """Return the webhooks of a batch, the newest first."""
        return await self._with_attempts(await self._database.fetch(SQL["of_batch"], batch_id, SHOWN))

    async def replay(self, webhook_id: UUID) -> tuple[Delivery, list[Dispatch]]:
        """Send a webhook again, as a job of its own with the same message id; NotFound."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(SQL["replay"], webhook_id)
            if not rows:
                raise NotFound(f"there is no webhook {webhook_id}")
            await connection.execute(SQL["link"], webhook_id, rows[0]["id"])
            return _delivery(rows[0]), await dispatches(connection, [rows[0]["id"]])

    async def _with_attempts(self, rows: Sequence[Any]) -> list[Delivery]:
        deliveries = {row["id"]: _delivery(row) for row in rows}
        if deliveries:
            for id_, *attempt in await self._database.fetch(SQL["attempts"], list(deliveries), ATTEMPTS):
                deliveries[id_].attempts.append(Attempt(*attempt))
        return list(deliveries.values())


def _delivery(row: Any) -> Delivery:
    return Delivery(**dict(row))
