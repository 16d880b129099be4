"""Brings a database's schema to this version: `distriqueue migrate`."""

from importlib.resources import files
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from distriqueue.core.errors import BadSetting, StoreUnavailable

LOCK_KEY: Final = 0x6469_7374  # 'dist'; two migrators take turns
REFUSED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""A wrong user or password, no such database, a user who may not create tables."""
UNREACHABLE: Final = (
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
)


async def migrate(url: str) -> str:
    """Apply every missing migration in one transaction and return the revision; many may run it at once.

    Raises StoreUnavailable, and BadSetting for an address at which it is refused.
    """
    engine = create_async_engine(sqlalchemy_url(url), poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '60s'"))
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            await connection.run_sync(_upgrade)
    except OSError as exc:
        raise _unreachable(exc) from exc
    except DBAPIError as exc:
        driver = exc.driver_exception
        if isinstance(driver, REFUSED):
            raise BadSetting(f"DISTRIQUEUE_DATABASE_URL: Postgres refused: {driver}") from exc
        if isinstance(driver, UNREACHABLE):
            raise _unreachable(driver) from exc
        raise
    finally:
        await engine.dispose()
    return head()


def head() -> str:
    """Return the revision that this version of the code needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def sqlalchemy_url(url: str) -> str:
    """Return a plain Postgres URL in SQLAlchemy's spelling; BadSetting when it is another database's."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgres", "postgresql"):
        raise BadSetting("DISTRIQUEUE_DATABASE_URL must be postgresql://user:password@host:port/name")
    return f"postgresql+asyncpg://{rest}"


def _unreachable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"cannot reach Postgres to migrate it: {str(error) or type(error).__name__}")


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection=connection), "head")


def _config(**attributes: Any) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(files("distriqueue.store").joinpath("migrations")))
    config.set_main_option("path_separator", "os")
    return config
