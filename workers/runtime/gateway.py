"""The gateways as the outbox sees them: one POST that takes reports and answers them, whichever replica is up.

By aiohttp rather than httpx: an exchange costs a quarter, and a job waits for one before it may start.
"""

import random
from collections.abc import Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson
from pydantic import SecretStr

from distriqueue.core.errors import BadSetting, DistriQueueError, Unavailable
from distriqueue.telemetry import get_logger
from workers.runtime import access
from workers.runtime.retry_after import retry_after_s
from workers.runtime.tls import tls_context

log = get_logger("worker.gateway")

PATH: Final = "/api/jobs/status"
TRANSIENT: Final = frozenset({401, 403, 404, 405, 408, 421, 425, 429})
"""Client errors that say nothing about the reports: a wrong key or address, or a gateway that wants us to wait."""
MAX_RETRY_AFTER_S: Final = 60.0
CONNECT_S: Final = 2.0
CONNECTIONS: Final = 4
KEEP_ALIVE_S: Final = 30.0


class ReportsRejected(DistriQueueError):
    """The gateway will not take this list, however often it is sent: something in it is wrong, or too large."""

    code = "reports_rejected"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Gateways:
    """Posts to one gateway and stays with it; after a failure the next one is tried."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        api_key: SecretStr | None = None,
        timeout_s: float = 15.0,
        rng: random.Random | None = None,
    ) -> None:
        if not urls:
            raise BadSetting("DISTRIQUEUE_GATEWAY_URL: at least one address is needed")
        self._urls = [f"{url.rstrip('/')}{PATH}" for url in urls]
        self._current = (rng or random.SystemRandom()).randrange(len(urls))
        self._api_key = api_key
        self._http = aiohttp.ClientSession(
            headers=access.headers(api_key),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S, ssl=tls_context()),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    @property
    def count(self) -> int:
        """How many gateways there are to try."""
        return len(self._urls)

    async def post(self, body: bytes) -> list[dict[str, Any]]:
        """Send a list of reports, return the answers; Unavailable: send it again, ReportsRejected: do not."""
        url = self._urls[self._current]
        try:
            async with self._http.post(url, data=body, allow_redirects=False) as response:
                said, status, headers = await response.read(), response.status, response.headers
        except (aiohttp.ClientError, TimeoutError) as exc:
            self._turn()
            raise Unavailable(f"{url}: {type(exc).__name__} {exc}", retry_after_s=0.0) from exc
        if status == HTTPStatus.OK:
            return _answers(said, url)
        refusal = access.refusal(status, self._api_key)
        message = f"{refusal}{url} answered {status}: {said.decode(errors='replace')[:300]}"
        if 400 <= status < 500 and status not in TRANSIENT:
            raise ReportsRejected(message, status=status)
        self._turn()
        raise Unavailable(message, retry_after_s=retry_after_s(headers.get("retry-after"), most_s=MAX_RETRY_AFTER_S))

    def _turn(self) -> None:
        """Turn to the next gateway."""
        self._current = (self._current + 1) % len(self._urls)


def _answers(body: bytes, url: str) -> list[dict[str, Any]]:
    try:
        answers = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Unavailable(f"{url} answered what is not JSON", retry_after_s=0.0) from exc
    if not isinstance(answers, list):
        raise Unavailable(f"{url} answered a list of reports with no list", retry_after_s=0.0)
    return answers
