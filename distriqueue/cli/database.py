"""Postgres, for the commands that need it itself: where it is, and errors that say what to do."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg

from distriqueue.core.errors import BadSetting, StoreUnavailable


@contextlib.contextmanager
def advised(url: str) -> Iterator[None]:
    """Add to an error where it was, and what can be done about it."""
    try:
        yield
    except StoreUnavailable as exc:
        raise StoreUnavailable(
            f"{place(url)}: {exc.message}: start Postgres, or name another by --database-url;"
            " `distriqueue doctor` looks for what is wrong"
        ) from exc
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as exc:
        raise BadSetting(
            f"the database at {place(url)} is not at this version's schema: run `distriqueue migrate` first"
        ) from exc


def place(url: str) -> str:
    """Return the host, the port and the name of a database or vhost: no user, no password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}" if parts.port else f"{parts.hostname}{parts.path}"
