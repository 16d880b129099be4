"""The gateways as the outbox sees them: one POST that takes reports and answers them, whichever replica is up."""

import random
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx
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
        self._http = httpx.AsyncClient(
            headers=access.headers(api_key),
            timeout=httpx.Timeout(timeout_s, connect=2.0),
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=2, keepalive_expiry=30.0),
            trust_env=False,
            verify=tls_context(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    @property
    def count(self) -> int:
        """How many gateways there are to try."""
        return len(self._urls)

    async def post(self, body: bytes) -> list[dict[str, Any]]:
        """Send a list of reports, return the answers; Unavailable: send it again, ReportsRejected: do not."""
        url = self._urls[self._current]
        try:
            response = await self._http.post(url, content=body)
        except httpx.HTTPError as exc:
            self._current = (self._current + 1) % len(self._urls)
            raise Unavailable(f"{url}: {type(exc).__name__} {exc}", retry_after_s=0.0) from exc
        if response.status_code == httpx.codes.OK:
            return _answers(response, url)
        refusal = access.refusal(response.status_code, self._api_key)
        said = f"{refusal}{url} answered {response.status_code}: {response.text[:300]}"
        if 400 <= response.status_code < 500 and response.status_code not in TRANSIENT:
            raise ReportsRejected(said, status=response.status_code)
        self._current = (self._current + 1) % len(self._urls)
        wait_s = retry_after_s(response.headers.get("retry-after"), most_s=MAX_RETRY_AFTER_S)
        raise Unavailable(said, retry_after_s=wait_s)


def _answers(response: httpx.Response, url: str) -> list[dict[str, Any]]:
    try:
        answers = orjson.loads(response.content)
    except orjson.JSONDecodeError as exc:
        raise Unavailable(f"{url} answered what is not JSON", retry_after_s=0.0) from exc
    if not isinstance(answers, list):
        raise Unavailable(f"{url} answered a list of reports with no list", retry_after_s=0.0)
    return answers
