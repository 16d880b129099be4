"""The pool, and the translation of the driver's errors into ours."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from distriqueue.core.errors import BadSetting, Fenced, StoreUnavailable
from distriqueue.settings import StoreSettings

T = TypeVar("T")

STEADY: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
}
"""For statements that find each row of a batch by its id: planned once for a connection, whatever the statistics say.

Planning anew costs more than running them (ADR 0017), and no plan but "each item by the primary key" is ever right.
"""
STEADY_CONNECTIONS: Final = 4

FENCED: Final = "DQ001"
UNAVAILABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
"""What passes: a connection that broke, a server that restarts or is full, a collision, a timeout."""


@contextlib.contextmanager
def translated() -> Any:
    """Turn the driver's errors into StoreUnavailable, Fenced or BadSetting; a bug of ours stays what it is."""
    try:
        yield
    except asyncpg.DataError:
        raise
    except UNAVAILABLE as exc:
        if _was_cancelled(exc):
            raise asyncio.CancelledError from exc
        raise StoreUnavailable(f"Postgres does not answer: {_why(exc)}") from exc
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as exc:
        raise BadSetting(f"DISTRIQUEUE_DATABASE_URL: {exc}") from exc
    except asyncpg.PostgresError as exc:
        if getattr(exc, "sqlstate", None) == FENCED:
            raise Fenced(str(exc)) from exc
        raise


def _why(error: BaseException) -> str:
    """Say what the driver says; of a timeout that is nothing."""
    return str(error) or ("nothing came in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _was_cancelled(error: BaseException) -> bool:
    """Tell whether this is the pool's failure to take back a connection whose user was cancelled (asyncpg #784)."""
    context = error.__context__
    while context is not None and not isinstance(context, asyncio.CancelledError):
        context = context.__context__
    return context is not None and isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError)


Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class _Stateless(asyncpg.Connection):
    """A connection whose borrowers leave nothing behind but open transactions, which the pool ends by itself."""

    def get_reset_query(self) -> str:
        """Return nothing: asyncpg's own query would be one more round trip after every statement."""
        return ""


class Database:
    """Two pools of connections that come back by themselves when Postgres does; the second plans as STEADY says."""

    def __init__(self, pool: Pool, steady: Pool, *, url: str, timeout_s: float) -> None:
        self._pool = pool
        self._steady = steady
        self._url = url
        self._timeout_s = timeout_s

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: StoreSettings, *, application: str) -> AsyncIterator["Database"]:
        """Open the pools; they connect at first use, so Postgres may come up later."""
        url = settings.database_url.get_secret_value()
        try:
            pool = _pool(settings, application, settings.store_pool_size, {})
            steady = _pool(settings, application, min(settings.store_pool_size, STEADY_CONNECTIONS), STEADY)
            with translated():
                await pool
                await steady
        except ValueError as exc:
            raise BadSetting(f"DISTRIQUEUE_DATABASE_URL: {exc}") from exc
        try:
            yield cls(pool, steady, url=url, timeout_s=settings.store_timeout)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.gather(pool.close(), steady.close())
            pool.terminate()
            steady.terminate()

    def use(self) -> dict[str, tuple[int, int, int]]:
        """Return by pool how many connections are busy and how many idle, and how many there may be."""
        return {
            name: (pool.get_size() - pool.get_idle_size(), pool.get_idle_size(), pool.get_max_size())
            for name, pool in (("plain", self._pool), ("steady", self._steady))
        }

    @contextlib.asynccontextmanager
    async def connection(self, *, steady: bool = False) -> AsyncIterator[Any]:
        """Lend a connection in autocommit; raises StoreUnavailable."""
        with translated():
            async with (self._steady if steady else self._pool).acquire(timeout=self._timeout_s) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def transaction(self, *, epoch: int | None = None) -> AsyncIterator[Any]:
        """Lend a connection in a transaction, committed at the end unless an error leaves the block.

        With `epoch`, the check of the fence and the COMMIT are one round trip, so that nothing comes between: raises
        Fenced, and rolls back, when a newer leader has claimed.
        """
        async with self.connection() as connection:
            if epoch is None:
                async with connection.transaction():
                    yield connection
                return
            await connection.execute("BEGIN")
            try:
                yield connection
                await connection.execute(f"SELECT fence({int(epoch)}); COMMIT")
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise

    async def fetch(self, statement: str, *arguments: object, steady: bool = False) -> list[Any]:
        """Run one statement in autocommit and return its rows; `steady`: it finds them by id, see STEADY."""
        async with self.connection(steady=steady) as connection:
            rows: list[Any] = await connection.fetch(statement, *arguments)
            return rows


def _pool(settings: StoreSettings, application: str, size: int, plans: Mapping[str, str]) -> Pool:
    return asyncpg.create_pool(
        settings.database_url.get_secret_value(),
        connection_class=_Stateless,
        min_size=0,
        max_size=size,
        timeout=settings.store_timeout,
        command_timeout=settings.store_timeout,
        max_inactive_connection_lifetime=300,
        server_settings={
            "application_name": application,
            "idle_in_transaction_session_timeout": "5s",
            "lock_timeout": "5s",
            "statement_timeout": str(int(settings.store_timeout * 1000)),
            "timezone": "UTC",
            **plans,
        },
    )


async def again(run: Callable[[], Awaitable[T]], *, tries: int = 3) -> T:
    """Run a batch that several processes may collide on; transient collisions only, at most `tries` times."""
    for _ in range(tries - 1):
        try:
            return await run()
        except StoreUnavailable as exc:
            if not isinstance(exc.__cause__, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
                raise
    return await run()
