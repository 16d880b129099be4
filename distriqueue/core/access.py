"""API keys: who calls, and what they may do.

A token is `dq_<id>_<secret>`. The id is public, in lists and in the audit log; of the secret only the SHA-256 is kept.
That is enough, and a slow hash would be wrong: such a one makes guessing dear, and 256 random bits cannot be guessed at
any price, while every request pays for the hash.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_FORM: Final = re.compile(r"dq_([0-9a-f]{16})_([0-9a-f]{64})")


class Scope(StrEnum):
    """What a key allows; the value is the store's and the command line's spelling."""

    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"
    """Act on jobs, queues, schedules and workers of others."""
    WORKER = "worker"
    """Claim and report jobs, send heartbeats."""
    ADMIN = "admin"
    """All of these, and the audit log."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a caller sends; never stored, and not shown by `repr`."""

    key_id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> "Token":
        """Draw one."""
        return cls(secrets.token_hex(8), secrets.token_hex(32))

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """Read one; None for what is none."""
        found = _FORM.fullmatch(text)
        return None if found is None else cls(found[1], found[2])

    @property
    def text(self) -> str:
        """The token as it is sent."""
        return f"dq_{self.key_id}_{self.secret}"

    def hash(self) -> bytes:
        """Return what is stored of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()

    def fits(self, secret_hash: bytes) -> bool:
        """Tell whether the hash is of this secret, in constant time."""
        return hmac.compare_digest(self.hash(), secret_hash)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    key_id: str | None
    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller has the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


ANONYMOUS: Final = Caller(None, "anonymous", frozenset(Scope))
"""Anyone, where no key was ever made."""
STRANGER: Final = Caller(None, "anonymous", frozenset())
"""Anyone without a key, where there are keys."""


def words(scopes: Collection[Scope]) -> str:
    """Name scopes for people, in the order of the enumeration."""
    return " ".join(scope.value for scope in Scope if scope in scopes)
