"""`distriqueue.webhook` against receivers on real sockets, well and badly behaved."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier

from distriqueue import __version__
from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch, ReportStatus
from workers.handlers.registry import describe
from workers.handlers.webhook import TYPE, WebhookSender
from workers.runtime.calls import call_async
from workers.runtime.context import AttemptContext
from workers.runtime.outcome import Outcome
from workers.runtime.tls import tls_context
from workers.webhooks.addresses import Allowed
from workers.webhooks.delivery import Delivery
from workers.webhooks.signing import Signer

NEW, OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = {
    "type": "job.completed",
    "timestamp": "2026-01-01T00:00:00.000000Z",
    "data": {"jobId": "1", "result": ["ä", 10**30]},
}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """A server that notes requests and answers as its script says."""

    def __init__(self, script: bytes | Script) -> None:
        self._script = script
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self.url = ""
        self.port = 0
        self.left = asyncio.Event()
        """A client has gone."""
        self._serving: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self.left.set()
            writer.transport.abort()
            self._serving.discard(task)

    async def close(self) -> None:
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(_header(line) for line in lines)
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((first, headers, body.decode()))
        if isinstance(self._script, bytes):
            writer.write(self._script)
            await writer.drain()
        else:
            await self._script(writer)
        await reader.read()


def _header(line: str) -> tuple[str, str]:
    name, value = line.split(": ", 1)
    return name.lower(), value


@contextlib.asynccontextmanager
async def receiving(
    script: bytes | Script = OK, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    receiver = Receiver(script)
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{receiver.port}/hook?a=1"
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()


async def deliver(
    url: str,
    *,
    allow: tuple[str, ...] = ("127.0.0.1", "::1"),
    secrets: tuple[str, ...] = (NEW, OLD),
    tls: ssl.SSLContext | None = None,
    **bounds: float,
) -> Outcome:
    """Run one attempt of the job, as a worker does."""
    delivery = Delivery(Allowed.of(allow), tls=tls or tls_context(), **bounds)
    handler = describe(TYPE, WebhookSender(Signer([SecretStr(each) for each in secrets]), delivery).send)
    payload = {"url": url, "id": "msg_1", "body": BODY}
    dispatch = Dispatch.decode(Dispatch(new_job_id(), 1, TYPE, Priority.HIGH, payload, 30.0).encode())
    context = AttemptContext(dispatch.job_id, 1, TYPE, deadline=time.monotonic() + 30, sink=lambda *_: None)
    async with asyncio.timeout(20):
        return await call_async(handler, dispatch, context)


def status_of(line: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", *headers, f"content-length: {len(body)}", "", body]).encode()


async def test_a_good_receiver_gets_it_signed_by_each_secret() -> None:
    async with receiving() as receiver:
        outcome = await deliver(receiver.url)
    assert outcome.status is ReportStatus.COMPLETED
    result = orjson.loads(outcome.result or b"")
    assert result == {"status": 200, "durationMs": result["durationMs"], "answer": "ok"}
    assert 0 <= result["durationMs"] < 10_000
    ((line, headers, body),) = receiver.requests
    assert line == "POST /hook?a=1 HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["user-agent"] == f"DistriQueue/{__version__}"
    assert headers["content-type"] == "application/json"
    assert " " not in body, "compact"
    for secret in (NEW, OLD):
        assert Verifier(secret).verify(body, headers) == BODY
    assert headers["webhook-id"] == "msg_1"


async def test_over_ipv6_the_host_keeps_its_brackets() -> None:
    async with receiving(host="::1") as receiver:
        assert (await deliver(receiver.url)).status is ReportStatus.COMPLETED
    assert receiver.requests[0][1]["host"] == f"[::1]:{receiver.port}"


@pytest.mark.parametrize(
    ("answer", "error_type", "retryable", "least_s", "most_s"),
    [
        (status_of("500 Oops", body='the "reason"'), "webhook_failed", True, None, None),
        (status_of("404 Not Found"), "webhook_failed", True, None, None),
        (status_of("503 Busy", "retry-after: 60"), "webhook_failed", True, 60, 75),
        (status_of("429 Slow", "Retry-After: 1"), "webhook_failed", True, 5, 6.25),
        (status_of("429 Slow", "retry-after: 999999"), "webhook_failed", True, 14_400, 18_000),
        (status_of("429 Slow", "retry-after: never"), "webhook_failed", True, None, None),
        (status_of("410 Gone"), "webhook_gone", False, None, None),
        (status_of("302 Found", "location: http://127.0.0.1:1/"), "webhook_redirected", False, None, None),
        (status_of("308 Moved", "location: /elsewhere"), "webhook_redirected", False, None, None),
        (b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nabc", "webhook_failed", True, None, None),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "webhook_failed", True, None, None),
    ],
)
async def test_an_answer_that_is_no_2xx(
    answer: bytes, error_type: str, retryable: bool, least_s: float | None, most_s: float | None
) -> None:
    async with receiving(answer) as receiver:
        outcome = await deliver(receiver.url, body_s=0.3)
    assert len(receiver.requests) == 1, "not followed, not repeated"
    assert (outcome.status, outcome.error_type, outcome.retryable) == (ReportStatus.FAILED, error_type, retryable)
    if least_s is None or most_s is None:
        assert outcome.retry_after_s is None
    else:
        assert least_s <= (outcome.retry_after_s or 0) <= most_s
    if b"500" in answer:
        assert "answered 500 after" in (outcome.error_message or "")
        assert (outcome.error_message or "").endswith("ms: \"the 'reason'\"")


async def test_a_receiver_that_hangs_is_given_up_and_hung_up_on() -> None:
    async with receiving(b"") as receiver:
        outcome = await deliver(receiver.url, answer_s=0.2)
        async with asyncio.timeout(5):
            await receiver.left.wait()
    assert (outcome.error_type, outcome.retryable) == ("webhook_failed", True)
    assert outcome.error_message == "127.0.0.1 did not answer within 0.2 s"


async def test_headers_that_drip_are_given_up() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for n in range(10_000):
            writer.write(b"x-%d: y\r\n" % n)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with receiving(drip) as receiver:
        outcome = await deliver(receiver.url, answer_s=0.3)
    assert (outcome.error_type, outcome.retryable) == ("webhook_failed", True)


async def test_a_body_that_drips_is_cut_and_the_status_counts() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with receiving(drip) as receiver:
        began_at = time.monotonic()
        outcome = await deliver(receiver.url, body_s=0.2)
        assert time.monotonic() - began_at < 3
    assert outcome.status is ReportStatus.COMPLETED
    assert set(orjson.loads(outcome.result or b"")["answer"]) == {"x"}


async def test_of_a_huge_answer_little_is_read_and_less_is_kept() -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\na\x00\xff" + "ä".encode() * 2000)
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with receiving(flood) as receiver:
        outcome = await deliver(receiver.url, body_s=10)
    assert sent < 50_000_000, "what the kernel holds, not what was announced"
    answer = orjson.loads(outcome.result or b"")["answer"]
    assert answer == "a\ufffd\ufffd" + "ä" * 510, "1024 bytes, less the half character at the end"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/", "127.0.0.1 (loopback)"),
        ("http://localhost:1/", "(loopback)"),
        ("http://2130706433:1/", "127.0.0.1 (loopback)"),
        ("http://0x7f.1:1/", "127.0.0.1 (loopback)"),
        ("http://[::ffff:127.0.0.1]:1/", "127.0.0.1, loopback"),
        ("http://10.0.0.1/", "10.0.0.1 (private)"),
        ("http://169.254.169.254/latest/meta-data?token=secret", "169.254.169.254 (link-local)"),
        ("http://0.0.0.0/", "0.0.0.0 (unspecified)"),
        ("ftp://8.8.8.8/", "not http or https"),
        ("file:///etc/passwd", "not http or https"),
        ("/hook", "not http or https"),
        ("http://user:secret@8.8.8.8/", "user name"),
        ("http://[::1", "no URL"),
        (f"http://{'a' * 64}.example/", "cannot be a host's name"),
    ],
)
async def test_no_webhook_goes_to_what_is_not_public(url: str, said: str) -> None:
    outcome = await deliver(url, allow=("hooks.internal",))
    assert (outcome.error_type, outcome.retryable) == ("webhook_refused", False)
    assert said in (outcome.error_message or "")
    assert "secret" not in (outcome.error_message or "")


async def test_a_name_may_be_allowed() -> None:
    async with receiving() as receiver:
        outcome = await deliver(f"http://localhost:{receiver.port}/", allow=("LOCALHOST",))
    assert outcome.status is ReportStatus.COMPLETED
    assert receiver.requests[0][1]["host"] == f"localhost:{receiver.port}"


class Resolver:
    """Answers for the loop what a name resolves to; one address list per question."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        loop = asyncio.get_running_loop()
        self._real = loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", self)

    async def __call__(self, host: str, port: int | None, **how: Any) -> list[Any]:
        if not host.endswith(".test"):
            return await self._real(host, port, **how)
        self.asked.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [found for each in addresses for found in await self._real(each, port, **how)]


async def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, ("127.0.0.1",), ("127.0.0.2",))
    async with receiving() as receiver, receiving(host="127.0.0.2"):
        outcome = await deliver(f"http://rebinds.test:{receiver.port}/")
    assert outcome.status is ReportStatus.COMPLETED
    assert resolver.asked == ["rebinds.test"], "resolved once"
    assert receiver.requests[0][1]["host"] == f"rebinds.test:{receiver.port}"


async def test_one_bad_address_among_good_ones_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, ("127.0.0.1", "127.0.0.2"))
    async with receiving() as receiver:
        outcome = await deliver(f"http://mixed.test:{receiver.port}/")
    assert (outcome.error_type, receiver.requests) == ("webhook_refused", [])


async def test_the_next_address_is_tried_when_one_does_not_let_us(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, ("127.0.0.3", "127.0.0.1"))
    async with receiving() as receiver:
        outcome = await deliver(f"http://two.test:{receiver.port}/", allow=("127.0.0.0/8",))
    assert outcome.status is ReportStatus.COMPLETED


async def test_no_connection_and_no_name_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as receiver:
        pass
    outcome = await deliver(receiver.url)
    assert (outcome.error_type, outcome.retryable) == ("webhook_failed", True)

    async def unresolved(*_args: object, **_how: object) -> list[Any]:
        raise OSError(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unresolved)
    for name in ("nowhere.test", "xn--.test"):
        outcome = await deliver(f"http://{name}/")
        assert (outcome.error_type, outcome.retryable) == ("webhook_failed", True)
        assert f"{name} cannot be resolved" in (outcome.error_message or "")


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await deliver(receiver.url)).status is ReportStatus.COMPLETED
    assert not proxy.requests


async def test_without_a_secret_nothing_is_sent() -> None:
    async with receiving() as receiver:
        outcome = await deliver(receiver.url, secrets=())
    assert (outcome.error_type, outcome.retryable) == ("webhook_not_configured", False)
    assert "DISTRIQUEUE_WEBHOOK_SECRETS" in (outcome.error_message or "")
    assert not receiver.requests


async def test_a_payload_that_is_no_webhook_is_not_tried_again() -> None:
    handler = describe(TYPE, WebhookSender(Signer([]), Delivery(Allowed(), tls=tls_context())).send)
    context = AttemptContext(new_job_id(), 1, TYPE, deadline=0.0, sink=lambda *_: None)
    payload = {"url": "http://x", "id": "a.b", "body": {}}
    outcome = await call_async(handler, Dispatch(new_job_id(), 1, TYPE, Priority.LOW, payload, 30.0), context)
    assert (outcome.error_type, outcome.retryable) == ("invalid_payload", False)
    assert "payload.id" in (outcome.error_message or "")


async def test_tls_is_for_the_name_although_the_connection_is_to_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    how = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=hooks.test"
    where = ["-addext", "subjectAltName=DNS:hooks.test", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([openssl, *how.split(), *where], check=True, capture_output=True)  # noqa: ASYNC221
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(cert))
    server.load_cert_chain(cert, key)
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    Resolver(monkeypatch, ("127.0.0.1",))
    async with receiving(tls=server) as receiver:
        good = await deliver(f"https://hooks.test:{receiver.port}/", tls=client)
        other = await deliver(f"https://other.test:{receiver.port}/", tls=client)
        unknown = await deliver(f"https://hooks.test:{receiver.port}/")
    assert good.status is ReportStatus.COMPLETED
    assert names == ["hooks.test", "other.test", "hooks.test"]
    for outcome in (other, unknown):
        assert (outcome.error_type, outcome.retryable) == ("webhook_failed", True)
        assert "CERTIFICATE_VERIFY_FAILED" in (outcome.error_message or "")
    assert len(receiver.requests) == 1
