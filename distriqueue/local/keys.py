"""The stack's own API keys: one for its workers, one for its gateways, one for whoever may read its home.

They are made before any other key is, so that nobody is locked out when the first one appears. They close no gate
themselves. A worker's handlers see its environment, so its key can do no more than a worker must. A gateway shows the
cluster in its dashboard, and hands over the leadership when someone with `operate` orders it there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distriqueue.core.access import Scope, Token
from distriqueue.local.home import Home, write_private
from distriqueue.settings import StoreSettings
from distriqueue.store.access import AccessStore, NewKey
from distriqueue.store.database import Database

WORKERS: Final = "workers.key"
GATEWAYS: Final = "gateways.key"
OPERATOR: Final = "operator.key"


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of the stack's processes."""

    workers: Token
    gateways: Token


async def own_keys(home: Home, database_url: str) -> OwnKeys:
    """See that the home has all keys and Postgres knows them, and return those of processes; StoreUnavailable.

    A key that was revoked is replaced.
    """
    async with Database.open(StoreSettings.load(database_url=database_url), application="distriqueue-up") as database:
        store = AccessStore(database)
        await _kept(store, home.path / OPERATOR, frozenset({Scope.READ, Scope.OPERATE}))
        return OwnKeys(
            workers=await _kept(store, home.path / WORKERS, frozenset({Scope.READ, Scope.WORKER})),
            gateways=await _kept(store, home.path / GATEWAYS, frozenset({Scope.READ, Scope.OPERATE})),
        )


def read_key(file: Path) -> Token | None:
    """Return the key in a file; None when there is none."""
    try:
        return Token.parse(file.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None


async def _kept(store: AccessStore, file: Path, scopes: frozenset[Scope]) -> Token:
    token = read_key(file)
    caller = await store.recognise(token) if token else None
    if token is not None and caller is not None and caller.scopes == scopes:
        return token
    token = Token.new()
    write_private(file, token.text)
    new = NewKey(f"embedded stack: {file.stem}", scopes, internal=True)
    await store.create(token, new, actor="distriqueue up")
    return token
