"""One delivery: resolve the name, check every address, POST to one of those checked, read a bounded answer.

httpcore and not httpx, for its network backend: the connection goes to the address that was checked, while Host header,
SNI and certificate stay those of the name. A name that resolves differently a moment later (DNS rebinding) changes
nothing. There are no redirects, no proxies from the environment, no cookies, no decompression, and no connection is
used twice.
"""

import asyncio
import codecs
import contextlib
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import httpcore
import httpx

from workers.webhooks.addresses import Allowed, why_not_public
from workers.webhooks.errors import WebhookFailed, WebhookRefused

RESOLVE_S: Final = 5.0
CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
"""From the start to the answer's status; Standard Webhooks recommends no less."""
BODY_S: Final = 3.0
"""For the answer's body, which only the log wants: with all the above within the job's 30 s."""
MAX_BODY_BYTES: Final = 64 * 1024
KEPT_BYTES: Final = 1024
MAX_TRIED: Final = 4
"""Addresses of one name that an attempt tries."""
_BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver said."""

    status: int
    retry_after: str | None
    text: str
    """Its beginning; what is no UTF-8 is replaced."""
    duration_ms: int


class Delivery:
    """POSTs to receivers, each time anew."""

    def __init__(
        self, allowed: Allowed, *, tls: ssl.SSLContext, answer_s: float = ANSWER_S, body_s: float = BODY_S
    ) -> None:
        self._allowed = allowed
        self._tls = tls
        self._answer_s = answer_s
        self._body_s = body_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Return the answer, whatever its status; WebhookRefused: not to that address, WebhookFailed: not this time."""
        began_at = time.monotonic()
        target = _parse(url)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._answer_s):
                    pinned = Pinned(await self._addresses(target))
                    connection = httpcore.AsyncHTTPConnection(_origin(target), self._tls, network_backend=pinned)
                    await stack.enter_async_context(contextlib.aclosing(connection))
                    response = await stack.enter_async_context(
                        connection.stream(
                            "POST",
                            httpcore.URL(
                                scheme=target.raw_scheme,
                                host=target.raw_host,
                                port=target.port,
                                target=target.raw_path,
                            ),
                            headers=[("host", target.netloc.decode()), *headers.items()],
                            content=body,
                            extensions={"timeout": {"connect": CONNECT_S}},
                        )
                    )
            except TimeoutError as exc:
                raise WebhookFailed(f"{_host(target)} did not answer within {self._answer_s:g} s") from exc
            except _BROKEN as exc:
                raise WebhookFailed(f"no answer from {_host(target)}: {_said(exc)}") from exc
            text = await self._beginning(response)
        return Reply(
            response.status, _header(response, b"retry-after"), text, round(1000 * (time.monotonic() - began_at))
        )

    async def _addresses(self, target: httpx.URL) -> Sequence[str]:
        """Resolve the host; WebhookRefused when one of its addresses is none that we send to."""
        host = _host(target)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except TimeoutError as exc:
            raise WebhookFailed(f"{host} was not resolved within {RESOLVE_S:g} s") from exc
        except UnicodeError as exc:
            raise WebhookRefused(f"{host[:100]!r} cannot be a host's name") from exc
        except OSError as exc:
            raise WebhookFailed(f"{host} cannot be resolved: {_said(exc)}") from exc
        addresses = list(
            dict.fromkeys(str(at[0]) for family, *_, at in found if family in (socket.AF_INET, socket.AF_INET6))
        )
        if not addresses:
            raise WebhookFailed(f"{host} has no address")
        for each in () if self._allowed.has_host(host) else addresses:
            address = ip_address(each)
            what = why_not_public(address)
            if what is not None and not self._allowed.has_address(address):
                raise WebhookRefused(f"{host} is at {each} ({what}), and webhooks go to public addresses only")
        return addresses[:MAX_TRIED]

    async def _beginning(self, response: httpcore.Response) -> str:
        """Read the body to its end, or as far as its bounds allow; the status has said already what counts."""
        kept, size_bytes = bytearray(), 0
        with contextlib.suppress(*_BROKEN):  # an answer that breaks off, or drips, is kept as far as it came
            async with asyncio.timeout(self._body_s):
                async for chunk in response.aiter_stream():
                    kept += chunk[: KEPT_BYTES - len(kept)]
                    size_bytes += len(chunk)
                    if size_bytes >= MAX_BODY_BYTES:
                        break
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(kept))  # drops a character cut in two
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


class Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the first of the checked addresses that lets us; never looks at the name."""

    def __init__(self, addresses: Sequence[str], network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._addresses = addresses
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 # the point of it
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Try one address after the other within the timeout, each for its share of what is left."""
        deadline = time.monotonic() + (timeout or CONNECT_S)
        for left in range(len(self._addresses), 0, -1):
            address = self._addresses[-left]
            try:
                return await self._network.connect_tcp(
                    address, port, (deadline - time.monotonic()) / left, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise httpcore.ConnectError("no address")

    async def sleep(self, seconds: float) -> None:
        """As the real one does."""
        await self._network.sleep(seconds)


def _parse(url: str) -> httpx.URL:
    """Read the URL with the parser whose parts are used; WebhookRefused."""
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise WebhookRefused("the address is no URL") from exc
    if target.scheme not in ("http", "https") or not target.raw_host:
        raise WebhookRefused("the address is not http or https")
    if target.userinfo:
        raise WebhookRefused("the address holds a user name or password")
    return target


def _host(target: httpx.URL) -> str:
    """Return the name as it is looked up; httpx's own `host` would decode it, which not every name survives."""
    return target.raw_host.decode("ascii")


def _origin(target: httpx.URL) -> httpcore.Origin:
    return httpcore.Origin(target.raw_scheme, target.raw_host, target.port or {"http": 80, "https": 443}[target.scheme])


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def _said(exc: Exception) -> str:
    return f"{type(exc).__name__} {exc}".strip()
