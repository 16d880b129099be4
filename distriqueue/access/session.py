"""A browser's way in: a signed cookie, made once from an API key, that counts as long as the key does.

`<key id>.<when it ends>.<nonce>.<signature>`. The signature's key is the stored hash of the API key's secret, together
with what all gateways of one installation share: a random secret in the database, and the database's password. So
nothing is kept for a session, every gateway takes it, it ends with its API key, and a copy of the table of keys forges
none; where the database has a password, neither does a copy of the whole database. The API key itself never goes into
the browser.

Browsers send cookies to every port of a host. So the names of ours hold a word that each installation has for itself:
two of them on one machine do not log each other out.

Whoever steals a cookie has a session, not a key. Writes take the header `X-CSRF-Token` as well, which is another
signature over the same session: a page of another site can neither read it nor send the header.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from distriqueue.core.access import Token
from distriqueue.core.errors import Forbidden

COOKIE: Final = "distriqueue_session_"
"""What the cookie's name begins with; the installation's word follows."""
CSRF_COOKIE: Final = "distriqueue_csrf_"
"""Not HttpOnly: the page's own script reads it, and sends it back as a header."""
CSRF_HEADER: Final = "x-csrf-token"
LASTS_S: Final = 12 * 3600
SAFE: Final = ("GET", "HEAD", "OPTIONS")

_FORM: Final = re.compile(r"([0-9a-f]{16})\.(\d{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Session:
    """What a cookie says; whether it is true, `fits` tells."""

    key_id: str
    ends_at_s: int
    text: str = field(repr=False)
    _signed: str = field(repr=False)
    _signature: str = field(repr=False)
    _pepper: bytes = field(repr=False)
    _now_s: float = field(repr=False)

    def fits(self, secret_hash: bytes) -> bool:
        """Tell whether it was made with the key of this hash and has not ended; in constant time."""
        right = _sign(self._pepper, secret_hash, self._signed)
        return hmac.compare_digest(right, self._signature) and self._now_s < self.ends_at_s


class Sessions:
    """Makes and reads the sessions of one installation; `pepper` is what its gateways share."""

    def __init__(self, pepper: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._pepper = pepper
        self._clock = clock
        word = hashlib.sha256(b"distriqueue cookie|" + pepper).hexdigest()[:8]
        self.cookie: Final = COOKIE + word
        self.csrf_cookie: Final = CSRF_COOKIE + word

    def new(self, token: Token) -> Session:
        """Make a session of an API key that was found to be right."""
        signed = f"{token.key_id}.{round(self._clock()) + LASTS_S}.{secrets.token_hex(16)}"
        session = self.parse(f"{signed}.{_sign(self._pepper, token.hash(), signed)}")
        assert session is not None  # noqa: S101 -- by construction
        return session

    def parse(self, text: str) -> Session | None:
        """Read a cookie's value; None for what is none."""
        found = _FORM.fullmatch(text)
        if found is None:
            return None
        signed, _, signature = text.rpartition(".")
        return Session(found[1], int(found[2]), text, signed, signature, self._pepper, self._clock())

    def of(self, headers: Headers) -> Session | None:
        """Return the session that a request's headers speak of."""
        for name, value in headers:
            if name == b"cookie" and self.cookie.encode() in value:
                return self._of_cookies(value.decode("latin-1"))
        return None

    def csrf(self, session: Session) -> str:
        """Return what writes of the session must say."""
        return hmac.new(self._pepper, f"csrf|{session.text}".encode(), hashlib.sha256).hexdigest()

    def check_write(self, session: Session, method: str, headers: Headers) -> None:
        """Refuse a write that does not come from our own pages: Forbidden."""
        if method in SAFE:
            return
        said = next((value.decode("latin-1") for name, value in headers if name == CSRF_HEADER.encode()), "")
        if not hmac.compare_digest(said.encode(), self.csrf(session).encode()):
            raise Forbidden("with a session instead of an API key, this takes the header X-CSRF-Token")

    def _of_cookies(self, header: str) -> Session | None:
        try:
            morsel = SimpleCookie(header).get(self.cookie)
        except CookieError:
            return None
        return None if morsel is None else self.parse(morsel.value)


class SessionSource:
    """The installation's sessions, from when they are first needed: a gateway may start before Postgres does."""

    def __init__(self, secret: Callable[[], Awaitable[bytes]], *, database_url: str) -> None:
        self._secret = secret
        self._password = urlsplit(database_url).password or ""
        self._sessions: Sessions | None = None

    @property
    def csrf_cookie(self) -> str:
        """The cookie that pages read the token for writes from; empty as long as nobody had a session."""
        return "" if self._sessions is None else self._sessions.csrf_cookie

    async def get(self) -> Sessions:
        """Return them; StoreUnavailable when the secret was not read yet and cannot be."""
        if self._sessions is None:
            pepper = hmac.digest(await self._secret(), f"session 2|{self._password}".encode(), "sha256")
            self._sessions = Sessions(pepper)
        return self._sessions

    async def of(self, headers: Headers) -> tuple[Sessions, Session] | None:
        """Return the session that a request's headers speak of; nothing is read for requests without one."""
        headers = list(headers)
        if not any(name == b"cookie" and COOKIE.encode() in value for name, value in headers):
            return None
        sessions = await self.get()
        session = sessions.of(headers)
        return None if session is None else (sessions, session)


def _sign(pepper: bytes, secret_hash: bytes, signed: str) -> str:
    key = hmac.digest(pepper, secret_hash, "sha256")
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
