"""API keys, and the log of who did what with them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json, to_json

from distriqueue.core.access import Caller, Scope, Token, words
from distriqueue.core.errors import Conflict, NotFound
from distriqueue.store.database import Database
from distriqueue.store.statements import load

SQL: Final = load("access.sql")
MAX_KEYS: Final = 1000
"""Most live keys: every process reads all of them every second."""
MAX_LISTED: Final = 10_000
TOUCH_S: Final = 10.0
"""How exact `last_used_at` is."""
MAX_TARGET: Final = 300
MAX_DETAILS_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made."""

    name: str
    scopes: frozenset[Scope]
    expires_s: float | None = None
    requests_per_s: float | None = None
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A key as people see it."""

    id: str
    name: str
    scopes: frozenset[Scope]
    requests_per_s: float | None
    internal: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    expired: bool


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A key as the gate sees it."""

    caller: Caller
    secret_hash: bytes
    requests_per_s: float | None
    expires_in_s: float | None


@dataclass(frozen=True, slots=True)
class LiveKeys:
    """All keys that count at one instant."""

    configured: bool
    """Whether a key was ever made, revoked ones too; stacks' own do not count."""
    keys: Mapping[str, LiveKey]


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody ordered; `target` and `details` are cut or left out when they are too large to keep."""

    actor: str
    action: str
    target: str
    details: Mapping[str, object]
    key_id: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry with its number, which rises with time."""

    id: int
    at: datetime
    entry: Entry


class AccessStore:
    """The table of keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> LiveKeys:
        """Return what the gate needs."""
        rows = await self._database.fetch(SQL["load"])
        keys = {row["id"]: _live(row) for row in rows if row["id"] is not None}
        return LiveKeys(configured=rows[0]["made"], keys=keys)

    async def create(self, token: Token, new: NewKey, *, actor: str) -> Key:
        """Store a key and who made it; Conflict when there are too many."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                SQL["create"],
                token.key_id,
                new.name,
                token.hash(),
                [scope.value for scope in Scope if scope in new.scopes],
                new.requests_per_s,
                new.internal,
                new.expires_s,
                MAX_KEYS,
            )
            if row is None:
                raise Conflict(f"there are {MAX_KEYS} live API keys already: revoke some first")
            details = {"name": new.name, "scopes": words(new.scopes)}
            await connection.execute(SQL["append"], *_columns(Entry(actor, "apikey.create", token.key_id, details)))
        return _key(row)

    async def revoke(self, key_id: str, *, actor: str) -> Key:
        """End a key for good, and note who did; NotFound. A key that was revoked before stays so."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL["revoke"], key_id)
            if row is None:
                raise NotFound(f"there is no API key {key_id}: see `distriqueue apikey list`")
            entry = Entry(actor, "apikey.revoke", key_id, {"name": row["name"]})
            await connection.execute(SQL["append"], *_columns(entry))
        return _key(row)

    async def all(self, *, dead: bool = False) -> list[Key]:
        """Return the live keys, newest first; with `dead`, those that were revoked or have expired too."""
        return [_key(row) for row in await self._database.fetch(SQL["all"], dead, MAX_LISTED)]

    async def recognise(self, token: Token) -> Caller | None:
        """Return whose live key this is."""
        rows = await self._database.fetch(SQL["live"], token.key_id)
        return _caller(rows[0]) if rows and token.fits(rows[0]["secret_hash"]) else None

    async def session_secret(self) -> bytes:
        """Return the random bytes that browsers' sessions of this installation are signed with."""
        secret: bytes = (await self._database.fetch(SQL["session_secret"]))[0][0]
        return secret

    async def touch(self, key_ids: Collection[str]) -> None:
        """Note that these keys were used."""
        await self._database.fetch(SQL["touch"], list(key_ids), TOUCH_S)


class AuditStore:
    """The audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entry: Entry) -> None:
        """Store an entry."""
        await self._database.fetch(SQL["append"], *_columns(entry))

    async def page(self, *, before: int | None = None, limit: int) -> list[StoredEntry]:
        """Return entries, newest first, that are older than the one with this number."""
        return [_entry(row) for row in await self._database.fetch(SQL["page"], before, limit)]

    async def prune(self, *, older_than_s: float, limit: int, epoch: int) -> int:
        """Drop the oldest entries, at most `limit`; return how many. Fenced, StoreUnavailable."""
        async with self._database.transaction(epoch=epoch) as connection:
            done = await connection.execute(SQL["prune"], older_than_s, limit)
        return int(done.rpartition(" ")[2])


def _caller(row: Any) -> Caller:
    return Caller(row["id"], row["name"], frozenset(map(Scope, row["scopes"])))


def _live(row: Any) -> LiveKey:
    return LiveKey(_caller(row), row["secret_hash"], row["requests_per_s"], row["expires_in_s"])


def _key(row: Any) -> Key:
    return Key(
        id=row["id"],
        name=row["name"],
        scopes=frozenset(map(Scope, row["scopes"])),
        requests_per_s=row["requests_per_s"],
        internal=row["internal"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        expired=row["expired"],
    )


def _columns(entry: Entry) -> tuple[Any, ...]:
    # Text in Postgres has no NUL, and what callers send may be long.
    target = entry.target.replace("\0", "\\0")[:MAX_TARGET]
    details = to_json(entry.details)
    if len(details) > MAX_DETAILS_BYTES:
        details = to_json({"omitted": f"{len(details)} bytes"})
    return entry.key_id, entry.actor, entry.action, target, details.decode(), entry.address


def _entry(row: Any) -> StoredEntry:
    entry = Entry(row["actor"], row["action"], row["target"], from_json(row["details"]), row["key_id"], row["address"])
    return StoredEntry(row["id"], row["at"], entry)
