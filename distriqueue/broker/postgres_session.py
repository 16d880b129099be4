"""One connection of the Postgres broker, and what its faults are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeAlias

import asyncpg

from distriqueue.broker import postgres_sql as sql
from distriqueue.broker.topology import LANES
from distriqueue.core.errors import BrokerUnavailable
from distriqueue.core.job import Priority

CONNECT_S: Final = 5.0
CALL_S: Final = 5.0

NUMBER: Final[dict[Priority, int]] = {lane: number for number, lane in enumerate(LANES)}
"""The lane's number in the tables, by rank."""

Connection: TypeAlias = "asyncpg.Connection[Any]"

# What may pass by itself or by an operator's hand: no connection, a server that starts, stops or is full, a wrong
# password, a database or table that is not there yet, a deadlock. A statement that Postgres cannot read is not here.
# InternalClientError is what asyncpg raises when the server is killed while it looks up the types of a new statement.
TRANSIENT: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
)


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turn what asyncpg raises for a fault that may pass into BrokerUnavailable."""
    try:
        yield
    except asyncpg.InvalidAuthorizationSpecificationError as exc:
        raise BrokerUnavailable(f"Postgres refuses the credentials: {exc}") from exc
    except TRANSIENT as exc:
        raise BrokerUnavailable(f"{type(exc).__name__}: {exc}") from exc


@contextlib.asynccontextmanager
async def session(url: str, *, name: str, lost: asyncio.Event) -> AsyncIterator[Connection]:
    """Yield a connection to a database that has the broker's tables; `lost` is set when the connection ends.

    BrokerUnavailable for every fault that may pass. What is committed here need not be on disk yet: a crash of
    Postgres may forget the last fraction of a second of dispatches, and the jobs are sent again (ADR 0003).
    """
    with faults():
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_S,
            command_timeout=CALL_S,
            server_settings={
                "application_name": f"distriqueue-broker:{name}"[:63],
                "synchronous_commit": "off",
                "jit": "off",
                # A queue is never to be read from end to end, however small the statistics say it is.
                "enable_seqscan": "off",
                # Planned once: what a message costs is else mostly the planning of the statements that move it.
                "plan_cache_mode": "force_generic_plan",
            },
        )
        try:
            connection.add_termination_listener(lambda _: lost.set())
            if not await connection.fetchval(sql.IS_CREATED):
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock($1)", sql.SCHEMA_LOCK)
                    await connection.execute(sql.CREATE)
            yield connection
            await connection.close(timeout=CALL_S)
        finally:
            # After a fault, the polite way of closing may hang: this one is a close of the socket.
            connection.terminate()
