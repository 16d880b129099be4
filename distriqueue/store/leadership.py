"""Who leads: the claim of an epoch, which fences off every leader before."""

from dataclasses import dataclass
from typing import Final

from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("leadership.sql")
DUTY_CONNECTIONS: Final = "distriqueue-duties:"
"""What the `application_name` of a leader's connections starts with; its boot id follows."""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Whether the epoch was won, and the epoch that the table holds now."""

    won: bool
    epoch: int


class LeadershipStore:
    """The one row of `leadership`, and its history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, term: int, *, node: str, boot: str) -> ClaimResult:
        """Make `term` the epoch unless it is not newer; a claim may be repeated by the same boot. StoreUnavailable."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(SQL["claim"], term, node, boot) is None:
                return ClaimResult(won=False, epoch=await connection.fetchval(SQL["observe"]))
            await connection.execute(SQL["remember"], term, node, boot)
        return ClaimResult(won=True, epoch=term)

    async def end_others(self, *, boot: str) -> int:
        """End the duty connections of every other process, after a claim; return how many there were."""
        rows = await self._database.fetch(SQL["end_others"], DUTY_CONNECTIONS, duty_connections(boot))
        return int(rows[0]["ended"])


def duty_connections(boot: str) -> str:
    """Return the `application_name` for the connections on which this process does its duties."""
    return f"{DUTY_CONNECTIONS}{boot}"
