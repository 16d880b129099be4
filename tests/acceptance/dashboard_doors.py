"""Keys of a stack that asks for them, made behind its back; for tests in whose thread Playwright has a loop."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from distriqueue.core.access import Scope, Token
from distriqueue.settings import StoreSettings
from distriqueue.store.access import AccessStore, NewKey
from distriqueue.store.database import Database

T = TypeVar("T")


def elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """Run it in another thread: in this one Playwright has a loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result(30)


class Doors:
    """The table of keys."""

    def __init__(self, database_url: str) -> None:
        self._settings = StoreSettings.load(database_url=database_url)

    def key(self, *scopes: Scope) -> Token:
        """Make a key."""
        return elsewhere(self._make(frozenset(scopes)))

    def revoke(self, token: Token) -> None:
        """End it."""
        elsewhere(self._revoke(token))

    async def _make(self, scopes: frozenset[Scope]) -> Token:
        token = Token.new()
        async with Database.open(self._settings, application="test") as database:
            await AccessStore(database).create(token, NewKey("somebody", scopes), actor="test")
        return token

    async def _revoke(self, token: Token) -> None:
        async with Database.open(self._settings, application="test") as database:
            await AccessStore(database).revoke(token.key_id, actor="test")
