"""JSON over HTTP to a gateway, for those who know the REST contract: typed errors, timeouts, safe retries.

    with Transport() as transport:                        # DISTRIQUEUE_URL and DISTRIQUEUE_API_KEY, or as given
        job = transport.call("GET", f"/api/jobs/{job_id}")
        page = transport.call("GET", "/api/jobs", query={"status": ["failed", "timeout"], "size": 100, "q": None})
        answer = transport.ask("POST", f"/api/jobs/{job_id}/cancel")        # with status and headers
        job = transport.call(
            "POST", "/api/jobs", body={"type": "calculate"}, headers={IDEMPOTENCY_KEY: new_idempotency_key()}
        )

`AsyncTransport` is the same with `async with` and `await`, and has `stream` for server-sent events. Paths are whole, as
answers spell them in `links`. Query values may be lists (a parameter each), None (left out), enums, booleans and times.

Every call raises errors of one tree, `distriqueue.core.errors.DistriQueueError`, with `message`, `code` and `errors`:
what the gateway answered, by its code (NotFound, Conflict, InvalidRequest, Unauthorized, Forbidden, Overloaded, …);
GatewayUnreachable when nobody answers; UnexpectedAnswer when somebody does who is no gateway.

A GET, and a POST with an Idempotency-Key, is sent again with backoff, jitter and `Retry-After` while `retry_for_s`
lasts; anything else only when it cannot have had an effect. `retry_for_s=0` asks once.
"""

import asyncio
import random
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from distriqueue import __version__
from distriqueue.sdk.errors import answered
from distriqueue.sdk.exchange import (
    IDEMPOTENCY_KEY,
    Answer,
    Outcome,
    Patience,
    Pause,
    Query,
    Request,
    attempts,
    request,
    retry_after_s,
    unreachable,
)
from distriqueue.settings import ClientSettings

__all__ = ["IDEMPOTENCY_KEY", "Answer", "AsyncTransport", "Transport", "new_idempotency_key"]

TIMEOUT_S: Final = 30.0
"""How long one answer may take."""
CONNECT_S: Final = 5.0
RETRY_FOR_S: Final = 30.0
CONNECTIONS: Final = 32
KEEPALIVE_S: Final = 30.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class _Way:
    """What both transports know: where the gateway is, who we are, how patient."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        given = {"url": url, "api_key": None if api_key is None else SecretStr(api_key)}
        settings = ClientSettings.load(**{name: value for name, value in given.items() if value is not None})
        self.url = settings.url
        """The gateway's address, without `/api`."""
        self._timeout_s = timeout_s
        self._patience = Patience(retry_for_s, random.SystemRandom())
        parts = urlsplit(self.url)
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "headers": _headers(settings.api_key),
            "timeout": httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            "limits": httpx.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE_S
            ),
            # No proxy can reach this very machine in our place.
            "trust_env": parts.hostname not in _LOOPBACK,
            # Reading the system's certificates takes longer than a call: not where they are not asked for.
            "verify": httpx.create_ssl_context() if parts.scheme == "https" else _no_tls(),
        }


class Transport(_Way):
    """Calls that block; usable from several threads."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        """Call the gateway at `url` (else DISTRIQUEUE_URL) by `api_key` (else DISTRIQUEUE_API_KEY); BadSetting."""
        super().__init__(url, api_key=api_key, timeout_s=timeout_s, retry_for_s=retry_for_s)
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON that the call answers, None when that is empty; errors as the module says."""
        return self.ask(method, path, body=body, query=query, headers=headers).body

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """As `call`; return the status and the headers too."""
        plan = attempts(request(method, path, body=body, query=query, headers=headers), self._patience, at=self.url)
        outcome: Outcome = None
        try:
            while True:
                step = plan.send(outcome)
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    outcome = None
                else:
                    outcome = self._send(step)
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    def _send(self, what: Request) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.request(
                what.method, what.path, params=what.query, content=what.content, headers=what.headers
            )
        except httpx.TransportError as exc:
            return exc


class AsyncTransport(_Way):
    """Calls of one event loop."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        """Call the gateway at `url` (else DISTRIQUEUE_URL) by `api_key` (else DISTRIQUEUE_API_KEY); BadSetting."""
        super().__init__(url, api_key=api_key, timeout_s=timeout_s, retry_for_s=retry_for_s)
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON that the call answers, None when that is empty; errors as the module says."""
        return (await self.ask(method, path, body=body, query=query, headers=headers)).body

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """As `call`; return the status and the headers too."""
        plan = attempts(request(method, path, body=body, query=query, headers=headers), self._patience, at=self.url)
        outcome: Outcome = None
        try:
            while True:
                step = plan.send(outcome)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    outcome = None
                else:
                    outcome = await self._send(step)
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float = TIMEOUT_S,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a GET whose body comes piece by piece, once; a silence of `silence_s` is a broken connection.

        Raises what `call` does, at the opening and while it is read; nothing is tried again here.
        """
        what = request("GET", path, query=query, headers=headers)
        name = f"GET {self.url}{path}"
        timeout = httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s), read=silence_s)
        try:
            async with self._http.stream(
                what.method, what.path, params=what.query, headers=what.headers, timeout=timeout
            ) as response:
                if response.status_code >= 300:
                    await response.aread()
                    raise answered(response, name, retry_after_s=retry_after_s(response.headers.get("retry-after")))
                yield response.aiter_raw()
        except httpx.TransportError as exc:
            raise unreachable(name, exc) from exc

    async def _send(self, what: Request) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.request(
                what.method, what.path, params=what.query, content=what.content, headers=what.headers
            )
        except httpx.TransportError as exc:
            return exc


def new_idempotency_key() -> str:
    """Return a key that no other request has."""
    return str(uuid.uuid4())


def _headers(api_key: SecretStr | None) -> dict[str, str]:
    sent = {"accept": "application/json", "user-agent": f"distriqueue/{__version__}"}
    if api_key is not None:
        sent["authorization"] = f"Bearer {api_key.get_secret_value()}"
    return sent


def _no_tls() -> ssl.SSLContext:
    """Return a context that trusts nobody, for addresses without TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
