"""What passes the gate, and how it says no; what a start asks for."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Scope as AsgiScope

from distriqueue.access.gate import Gate
from distriqueue.access.keyring import Keyring
from distriqueue.access.rules import PUBLIC, Rules
from distriqueue.access.start import require_keys
from distriqueue.access.trail import audit, caller_of
from distriqueue.core.access import Scope, Token
from distriqueue.core.errors import BadSetting, DistriQueueError
from tests.unit.access.fakes import FakeKeys, FakeTrail

RULES = Rules({PUBLIC: ("GET /health",), Scope.READ: ("GET /jobs", "GET /stream"), Scope.OPERATE: ("POST /jobs",)})


class Service:
    """A small app behind a gate."""

    def __init__(self) -> None:
        self.keys, self.trail = FakeKeys(), FakeTrail()
        self.go_on = asyncio.Event()
        routes = [
            Route("/health", self._who),
            Route("/jobs", self._who),
            Route("/jobs", self._act, methods=["POST"]),
            Route("/stream", self._stream),
        ]
        self.keyring = Keyring(self.keys, open_without_keys=True)
        app = Starlette(routes=routes)
        self.app = Gate(app, keyring=self.keyring, rules=RULES, trail=self.trail, refusal=_refusal)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://node")

    async def ask(self, call: str, key: str | None = None) -> httpx.Response:
        method, path = call.split()
        return await self.client.request(method, path, headers={"Authorization": key} if key is not None else {})

    async def _who(self, request: Request) -> Response:
        return JSONResponse({"name": caller_of(request).name, "reads": caller_of(request).may(Scope.READ)})

    async def _act(self, request: Request) -> Response:
        await audit(request, "job.cancel", "7", why="because")
        return JSONResponse({})

    async def _stream(self, _request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.wait_for(self.go_on.wait(), 5)
            yield b"second"

        return StreamingResponse(parts())


def _refusal(scope: AsgiScope, error: DistriQueueError) -> Response:
    return JSONResponse({"code": error.code, "detail": error.message, "at": scope["path"]}, error.http_status)


@pytest.fixture
async def service() -> Service:
    made = Service()
    await made.keyring.step()
    return made


async def test_everybody_is_anonymous_while_there_is_no_key(service: Service) -> None:
    for key in (None, "Bearer junk"):
        assert (await service.ask("GET /jobs", key)).json() == {"name": "anonymous", "reads": True}
    assert (await service.ask("POST /jobs")).status_code == 200
    assert (service.trail.entries[0].actor, service.trail.entries[0].key_id) == ("anonymous", None)


async def test_a_call_takes_its_scope(service: Service) -> None:
    reader, operator = service.keys.add(Scope.READ), service.keys.add(Scope.OPERATE)
    await service.keyring.step()
    assert (await service.ask("GET /jobs", f"Bearer {reader.text}")).json()["name"] == "somebody"
    assert (await service.ask("GET /jobs", f"bearer  {reader.text}")).status_code == 200
    refused = await service.ask("POST /jobs", f"Bearer {reader.text}")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "scope `operate`" in refused.json()["detail"]
    assert service.trail.entries == []
    assert (await service.ask("POST /jobs", f"Bearer {operator.text}")).status_code == 200
    entry = service.trail.entries[0]
    assert (entry.actor, entry.key_id, entry.action, entry.target) == ("somebody", operator.key_id, "job.cancel", "7")
    assert (entry.details, entry.address) == ({"why": "because"}, "127.0.0.1")


async def test_what_no_rule_names_takes_admin(service: Service) -> None:
    reader, admin = service.keys.add(Scope.READ), service.keys.add(Scope.ADMIN)
    await service.keyring.step()
    assert (await service.ask("GET /other", f"Bearer {reader.text}")).status_code == 403
    assert (await service.ask("GET /other", f"Bearer {admin.text}")).status_code == 404


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer junk", "Basic {token}", "{token}", "Bearer {wrong}"])
async def test_without_a_right_key_health_alone_answers(service: Service, key: str | None) -> None:
    token = service.keys.add(Scope.ADMIN)
    await service.keyring.step()
    if key is not None:
        key = key.format(token=token.text, wrong=Token(token.key_id, "0" * 64).text)
    refused = await service.ask("GET /jobs", key)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert token.secret not in refused.text
    health = await service.ask("GET /health", key)
    assert (health.status_code, health.json()) == (200, {"name": "anonymous", "reads": False})


async def test_health_knows_a_right_key(service: Service) -> None:
    token = service.keys.add(Scope.READ)
    await service.keyring.step()
    assert (await service.ask("GET /health", f"Bearer {token.text}")).json()["reads"] is True


async def test_a_stream_flows_through(service: Service) -> None:
    token = service.keys.add(Scope.READ)
    await service.keyring.step()
    sent: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if message.get("body") == b"first":
            service.go_on.set()

    header = (b"authorization", f"Bearer {token.text}".encode())
    scope = {"type": "http", "method": "GET", "path": "/stream", "headers": [header], "query_string": b""}
    async with asyncio.timeout(5):
        await service.app(scope | {"asgi": {"spec_version": "2.4"}}, receive, send)
    assert sent == [b"", b"first", b"second", b""]


async def test_a_websocket_is_closed(service: Service) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await service.app({"type": "websocket", "path": "/jobs", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


class TestStart:
    """No service beyond loopback without keys."""

    async def test_loopback_and_insecure_ask_nobody(self) -> None:
        keys = FakeKeys(away=True)
        for host, insecure in (("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True)):
            await require_keys(host, keys, insecure=insecure, setting="S")
        assert keys.readings == 0

    async def test_the_world_needs_a_key(self) -> None:
        keys = FakeKeys()
        keys.add(Scope.WORKER, internal=True)
        with pytest.raises(BadSetting, match=r"S=0\.0\.0\.0 .*no API keys: make one by `distriqueue apikey create`"):
            await require_keys("0.0.0.0", keys, insecure=False, setting="S")
        keys.add(Scope.ADMIN)
        await require_keys("0.0.0.0", keys, insecure=False, setting="S")

    async def test_the_world_needs_postgres_to_say_so(self) -> None:
        keys = FakeKeys(away=True)
        with pytest.raises(BadSetting, match=r"cannot be told: Postgres does not answer\. Start Postgres first"):
            await require_keys("0.0.0.0", keys, insecure=False, setting="S")
