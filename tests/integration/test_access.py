"""API keys on a real gateway and on an orchestrator's app, over a real Postgres."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx
import pytest

from distriqueue.access import keyring as keyring_module
from distriqueue.access.keyring import Keyring
from distriqueue.core.access import Scope, Token
from distriqueue.core.errors import BadSetting, Conflict, NotFound, StoreUnavailable
from distriqueue.core.job import new_job_id
from distriqueue.core.ports import Broker
from distriqueue.settings import BrokerSettings, GatewaySettings, StoreSettings
from distriqueue.store import access as store_module
from distriqueue.store.access import AccessStore, AuditStore, Entry, NewKey
from distriqueue.store.database import Database
from distriqueue.store.workers import WorkerStore
from gateway.app import open_parts
from orchestrator.app import guarded
from orchestrator.duties.supervisor import Supervisor
from orchestrator.metrics import Metrics
from orchestrator.parts import Parts
from orchestrator.registry import Registry
from tests.integration.conftest import Stores
from tests.integration.gateway import RunningGateway, running_gateway
from tests.integration.leader import leading
from tests.servers.postgres import PostgresServer
from tests.servers.process import private_env
from tests.servers.proxy import proxy
from tests.unit.orchestrator.fakes import FakeBroker, FakeLeadership

JOB: Final = str(new_job_id())
REFUSED: Final = {401, 403}


@dataclass(frozen=True)
class Keys:
    """Makes and ends keys, as the command line does."""

    store: AccessStore

    async def make(self, *scopes: Scope, name: str = "somebody", **options: Any) -> dict[str, str]:
        """Return the header of a new key."""
        token = Token.new()
        await self.store.create(token, NewKey(name, frozenset(scopes), **options), actor="cli")
        return {"Authorization": f"Bearer {token.text}"}

    async def revoke(self, header: dict[str, str]) -> None:
        """End a key."""
        await self.store.revoke(key_id(header), actor="cli")


def key_id(header: dict[str, str]) -> str:
    """Return the id in a header."""
    return header["Authorization"].split("_")[1]


@pytest.fixture
def keys(stores: Stores) -> Keys:
    return Keys(AccessStore(stores.database))


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_url) as running:
        yield running


async def until(condition: Callable[[], Awaitable[bool]], what: str, *, timeout_s: float) -> None:
    """Ask again and again: nothing signals it."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def closed(gateway: RunningGateway, *dead: dict[str, str]) -> None:
    """Wait until the gateway asks for keys, and knows that these do not count any more."""

    async def refuses() -> bool:
        answers = [await gateway.client.get("/api/jobs", headers=headers) for headers in ({}, *dead)]
        return all(answer.status_code == 401 for answer in answers)

    await until(refuses, "the gate to close", timeout_s=2.0)


class TestGateway:
    async def test_the_first_key_closes_the_gate_and_health_alone_stays(
        self, gateway: RunningGateway, keys: Keys
    ) -> None:
        assert (await gateway.client.get("/api/jobs")).status_code == 200
        assert "components" in (await gateway.client.get("/health/ready")).json()
        admin = await keys.make(Scope.ADMIN)
        await closed(gateway)
        for path in ("/health/live", "/health/ready", "/actuator/health", "/api/actuator/health"):
            answer = await gateway.client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "UP"}), path
        for path in ("/", "/metrics", "/api/jobs/stream", "/api-docs", "/static/swagger.js", "/nothing", "/api/audit"):
            answer = await gateway.client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
        assert "components" in (await gateway.client.get("/health/ready", headers=admin)).json()

    async def test_each_scope_allows_its_own_and_admin_all(self, gateway: RunningGateway, keys: Keys) -> None:
        calls: dict[Scope, list[tuple[str, str, Any]]] = {
            Scope.READ: [
                ("GET", "/api/jobs", None),
                ("GET", f"/api/jobs/{JOB}/events", None),
                ("GET", "/metrics", None),
            ],
            Scope.SUBMIT: [("POST", "/api/jobs", {"type": "calculate"}), ("POST", "/api/jobs/batch", [])],
            Scope.WORKER: [
                ("POST", "/api/jobs/status", {"jobId": JOB, "attempt": 1, "status": "running", "workerId": "w"})
            ],
            Scope.OPERATE: [("POST", f"/api/jobs/{JOB}/cancel", None), ("POST", f"/api/jobs/{JOB}/retry", None)],
            Scope.ADMIN: [("GET", "/api/audit", None), ("DELETE", "/api/jobs", None)],
        }
        headers = {scope: await keys.make(scope) for scope in Scope}
        await closed(gateway)
        for has, header in headers.items():
            for takes, made in calls.items():
                for method, path, body in made:
                    answer = await gateway.client.request(method, path, json=body, headers=header)
                    if has in {takes, Scope.ADMIN}:
                        assert answer.status_code not in REFUSED, (has, method, path, answer.text)
                    else:
                        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (has, path)
                        assert f"scope `{takes}`" in answer.json()["detail"]

    async def test_a_key_that_does_not_count(self, gateway: RunningGateway, keys: Keys, stores: Stores) -> None:
        good, revoked, expired = [await keys.make(Scope.ADMIN) for _ in range(3)]
        await keys.revoke(revoked)
        await stores.database.fetch("UPDATE api_keys SET expires_at = now() WHERE id = $1", key_id(expired))
        await closed(gateway, revoked, expired)
        token = good["Authorization"].removeprefix("Bearer ")
        wrong = f"{token[:-64]}{'0' * 64}"
        bad = [revoked["Authorization"], expired["Authorization"], f"Bearer {wrong}", f"Bearer {Token.new().text}"]
        bad += ["Bearer", "Bearer dq_x_y", f"Basic {token}", token, "Bearer " + "x" * 5000]
        for value in bad:
            answer = await gateway.client.get("/api/jobs", headers={"Authorization": value})
            assert answer.status_code == 401, value
            assert token.rpartition("_")[2] not in answer.text
        assert (await gateway.client.get("/api/jobs", headers=good)).status_code == 200

    async def test_a_new_key_works_at_once_and_a_revoked_one_not_for_long(
        self, gateway: RunningGateway, keys: Keys
    ) -> None:
        first = await keys.make(Scope.READ)
        await closed(gateway)
        second = await keys.make(Scope.READ)
        assert (await gateway.client.get("/api/jobs", headers=second)).status_code == 200
        await keys.revoke(second)

        async def refused() -> bool:
            return (await gateway.client.get("/api/jobs", headers=second)).status_code == 401

        await until(refused, "the revoked key to be refused", timeout_s=2.0)
        assert (await gateway.client.get("/api/jobs", headers=first)).status_code == 200
        await keys.revoke(first)
        await until(lambda: _is(gateway, first, 401), "the last key to be refused", timeout_s=2.0)
        assert (await gateway.client.get("/api/jobs")).status_code == 401

    async def test_a_stream_is_read_with_a_key(self, gateway: RunningGateway, keys: Keys) -> None:
        reader, writer = await keys.make(Scope.READ), await keys.make(Scope.SUBMIT)
        await closed(gateway)
        async with asyncio.timeout(10), gateway.client.stream("GET", "/api/jobs/stream", headers=reader) as answer:
            assert answer.status_code == 200
            lines = answer.aiter_lines()
            async for line in lines:
                if line == "event: connected":
                    posted = await gateway.client.post("/api/jobs", json={"type": "calculate"}, headers=writer)
                    assert posted.status_code == 202
                elif line.startswith("data: ") and posted.json()["id"] in line:
                    break

    async def test_a_rate_is_held(self, gateway: RunningGateway, keys: Keys) -> None:
        slow, other = await keys.make(Scope.READ, requests_per_s=5.0), await keys.make(Scope.READ)
        await closed(gateway)
        answers = [await gateway.client.get("/metrics", headers=slow) for _ in range(12)]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert len(limited) >= 5
        assert (limited[0].json()["code"], limited[0].headers["retry-after"]) == ("rate_limited", "1")
        assert (await gateway.client.get("/health/ready", headers=slow)).status_code == 200
        assert (await gateway.client.get("/metrics", headers=other)).status_code == 200

    async def test_use_is_noted(self, gateway: RunningGateway, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keyring_module, "TOUCH_EVERY_S", 0.0)
        reader = await keys.make(Scope.READ)
        await closed(gateway)
        assert [key.last_used_at for key in await keys.store.all()] == [None]
        assert (await gateway.client.get("/metrics", headers=reader)).status_code == 200

        async def noted() -> bool:
            return (await keys.store.all())[0].last_used_at is not None

        await until(noted, "the use to be noted", timeout_s=3.0)


async def _is(gateway: RunningGateway, header: dict[str, str], status: int) -> bool:
    return (await gateway.client.get("/api/jobs", headers=header)).status_code == status


class TestAudit:
    async def test_orders_are_noted_before_they_are_carried_out(self, gateway: RunningGateway, keys: Keys) -> None:
        job = await gateway.submit()
        assert (await gateway.client.post(f"/api/jobs/{job['id']}/cancel")).status_code == 200
        operator, admin = await keys.make(Scope.OPERATE, name="ops"), await keys.make(Scope.ADMIN)
        await closed(gateway)
        await gateway.client.post(f"/api/jobs/{job['id']}/retry", headers=operator)
        missing = await gateway.client.post(f"/api/jobs/{JOB}/cancel", headers=operator)
        assert missing.status_code == 404
        page = (await gateway.client.get("/api/audit", params={"size": 3}, headers=admin)).json()
        seen = [(entry["action"], entry["target"], entry["actor"]) for entry in page["content"]]
        assert seen == [
            ("job.cancel", JOB, "ops"),
            ("job.retry", job["id"], "ops"),
            ("apikey.create", key_id(admin), "cli"),
        ]
        assert page["content"][0] | {"at": ""} == {
            "at": "",
            "actor": "ops",
            "keyId": key_id(operator),
            "action": "job.cancel",
            "target": JOB,
            "details": {},
            "address": "127.0.0.1",
        }
        rest = (await gateway.client.get("/api/audit", params={"cursor": page["nextCursor"]}, headers=admin)).json()
        assert [(entry["action"], entry["actor"]) for entry in rest["content"]] == [
            ("apikey.create", "cli"),
            ("job.cancel", "anonymous"),
        ]
        assert rest["nextCursor"] is None
        assert rest["content"][0]["details"] == {"name": "ops", "scopes": "operate"}
        for wrong in ({"size": 0}, {"cursor": "x"}, {"cursor": 2**63}, {"other": 1}):
            assert (await gateway.client.get("/api/audit", params=wrong, headers=admin)).status_code == 422

    async def test_nothing_is_done_that_cannot_be_noted(
        self, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(_self: AuditStore, _entry: Entry) -> None:
            raise StoreUnavailable("Postgres does not answer")

        job = await gateway.submit()
        monkeypatch.setattr(AuditStore, "append", away)
        refused = await gateway.client.post(f"/api/jobs/{job['id']}/cancel")
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert (await gateway.client.get(f"/api/jobs/{job['id']}")).json()["status"] in {"pending", "queued"}

    async def test_the_log_is_bounded(self, database_url: str) -> None:
        async with leading(database_url) as leader:
            log = AuditStore(leader.database)
            for number in range(5):
                await log.append(Entry("a", "job.cancel", str(number), {}))
            await leader.database.fetch("UPDATE audit_log SET at = now() - interval '2 days' WHERE target < '3'")
            assert await log.prune(older_than_s=86_400, limit=2, epoch=1) == 2
            assert await log.prune(older_than_s=86_400, limit=2, epoch=1) == 1
            assert await log.prune(older_than_s=86_400, limit=2, epoch=1) == 0
            assert [stored.entry.target for stored in await log.page(limit=10)] == ["4", "3"]

    async def test_what_is_too_large_is_cut(self, stores: Stores) -> None:
        log = AuditStore(stores.database)
        await log.append(Entry("a", "b", "x\0" + "y" * 1000, {"much": "z" * 10_000, "id": new_job_id()}))
        entry = (await log.page(limit=1))[0].entry
        assert entry.target.startswith("x\\0yy")
        assert len(entry.target) == store_module.MAX_TARGET
        assert entry.details.keys() == {"omitted"}


class TestStore:
    async def test_keys_are_listed_without_secrets_and_kept_when_revoked(self, keys: Keys, stores: Stores) -> None:
        first, second = await keys.make(Scope.READ, name="a"), await keys.make(Scope.SUBMIT, expires_s=3600.0)
        await keys.revoke(first)
        await keys.revoke(first)
        expired = await keys.make(Scope.READ, expires_s=3600.0)
        await stores.database.fetch("UPDATE api_keys SET expires_at = now() WHERE id = $1", key_id(expired))
        assert [key.id for key in await keys.store.all()] == [key_id(second)]
        dead = (await keys.store.all(dead=True))[-1]
        assert (dead.id, dead.name, dead.scopes) == (key_id(first), "a", frozenset({Scope.READ}))
        assert dead.revoked_at
        live = await keys.store.load()
        assert live.configured
        assert live.keys.keys() == {key_id(second)}
        assert live.keys[key_id(second)].expires_in_s == pytest.approx(3600, abs=10)
        with pytest.raises(NotFound, match="no API key nobody"):
            await keys.store.revoke("nobody", actor="cli")

    async def test_there_are_no_more_keys_than_every_process_can_read(
        self, keys: Keys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "MAX_KEYS", 1)
        first = await keys.make(Scope.READ)
        with pytest.raises(Conflict, match="revoke some first"):
            await keys.make(Scope.READ)
        await keys.revoke(first)
        await keys.make(Scope.READ)


class TestOutage:
    async def test_the_last_known_keys_count_while_postgres_is_away(
        self, database_url: str, postgres_server: PostgresServer, keys: Keys
    ) -> None:
        reader = await keys.make(Scope.READ)
        async with proxy(postgres_server.port) as way:
            url = database_url.replace(f":{postgres_server.port}/", f":{way.port}/")
            async with running_gateway(url) as gateway:
                assert (await gateway.client.get("/metrics", headers=reader)).status_code == 200
                way.close()
                unknown = await gateway.client.get("/metrics", headers={"Authorization": f"Bearer {Token.new().text}"})
                assert (unknown.status_code, unknown.json()["code"]) == (503, "store_unavailable")
                assert unknown.headers["retry-after"] == "1"
                assert (await gateway.client.get("/metrics", headers=reader)).status_code == 200
                assert (await gateway.client.get("/metrics")).status_code == 401
                assert (await gateway.client.get("/health/ready")).json() == {"status": "DOWN"}
                way.reopen()
                await keys.revoke(reader)
                await until(lambda: _is(gateway, reader, 401), "the revocation to be seen", timeout_s=5.0)

    async def test_nobody_is_let_in_until_the_keys_were_read_once(
        self, database_url: str, postgres_server: PostgresServer
    ) -> None:
        async with proxy(postgres_server.port) as way:
            way.close()
            url = database_url.replace(f":{postgres_server.port}/", f":{way.port}/")
            async with running_gateway(url) as gateway:
                early = await gateway.client.get("/metrics")
                assert (early.status_code, early.json()["code"]) == (503, "store_unavailable")
                assert (await gateway.client.get("/health/live")).status_code == 200
                assert (await gateway.client.get("/health/ready")).json() == {"status": "DOWN"}
                way.reopen()

                async def open_now() -> bool:
                    return (await gateway.client.get("/metrics")).status_code == 200

                await until(open_now, "the keys to be read", timeout_s=5.0)


class TestStart:
    async def test_beyond_loopback_a_gateway_needs_a_key_in_postgres(self, database_url: str, keys: Keys) -> None:
        await keys.make(Scope.WORKER, internal=True)
        with pytest.raises(BadSetting, match=r"DISTRIQUEUE_GATEWAY_HOST=0\.0\.0\.0 would serve everyone"):
            await self._opened(database_url)
        await keys.make(Scope.READ)
        assert not await self._opened(database_url)

    async def test_a_gateway_that_may_not_start_says_what_to_do(self, database_url: str) -> None:
        away = "postgresql://u@127.0.0.1:1/d"
        for url, said in ((database_url, "no API keys: make one by"), (away, "Start Postgres first, or serve on")):
            env = private_env(
                DISTRIQUEUE_GATEWAY_HOST="0.0.0.0",
                DISTRIQUEUE_GATEWAY_PORT="0",
                DISTRIQUEUE_DATABASE_URL=url,
                DISTRIQUEUE_BROKER_URL=url,
            )
            started = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", env=env, stderr=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(20):
                _, errors = await started.communicate()
            assert started.returncode == 2
            assert said in errors.decode()
            assert "Traceback" not in errors.decode()

    async def _opened(self, url: str) -> bool:
        """Tell whether a gateway for the world would let everybody in."""
        settings = GatewaySettings.load(gateway_host="0.0.0.0", gateway_port=0)
        store, dispatch = StoreSettings.load(database_url=url), BrokerSettings.load(broker_url=url)
        async with open_parts(settings, store, dispatch) as parts:
            await parts.keyring.step()
            return parts.keyring.is_open


@dataclass(frozen=True)
class Node:
    """An orchestrator's app."""

    client: httpx.AsyncClient
    leadership: FakeLeadership


@asynccontextmanager
async def running_node(database: Database) -> AsyncIterator[Node]:
    metrics, workers, leadership = Metrics(), WorkerStore(database), FakeLeadership()
    registry = Registry(workers, observer=metrics)
    await registry.flush()
    broker = cast("Broker", FakeBroker())
    parts = Parts(leadership, Supervisor([], leadership, observer=metrics), registry, workers, broker, metrics)
    keyring, stop = Keyring(AccessStore(database), open_without_keys=True), asyncio.Event()
    app = guarded(parts, keyring, AuditStore(database))
    async with AsyncExitStack() as stack:
        transport = httpx.ASGITransport(cast("Any", app))
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://node"))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        group.create_task(keyring.run(stop))
        yield Node(client, leadership)


class TestOrchestrator:
    async def test_each_scope_allows_its_own(self, stores: Stores, keys: Keys) -> None:
        beat = {"workerId": "w1", "capacity": 1, "currentLoad": 0, "types": []}
        calls: dict[Scope, list[tuple[str, str, Any]]] = {
            Scope.READ: [
                ("GET", "/api/cluster/status", None),
                ("GET", "/api/workers", None),
                ("GET", "/metrics", None),
            ],
            Scope.WORKER: [("POST", "/api/workers/heartbeat", beat)],
            Scope.OPERATE: [("POST", "/api/cluster/step-down", {"to": "node2"})],
            Scope.ADMIN: [("GET", "/api/nothing", None)],
        }
        async with running_node(stores.database) as node:
            assert (await node.client.post("/api/workers/heartbeat", json=beat)).status_code == 200
            headers = {scope: await keys.make(scope, name=scope.value) for scope in Scope}

            async def refuses() -> bool:
                return (await node.client.get("/metrics")).status_code == 401

            await until(refuses, "the gate to close", timeout_s=2.0)
            for has, header in headers.items():
                for takes, made in calls.items():
                    for method, path, body in made:
                        answer = await node.client.request(method, path, json=body, headers=header)
                        allowed = has in {takes, Scope.ADMIN}
                        assert (answer.status_code not in REFUSED) is allowed, (has, path, answer.text)
            bare = await node.client.post("/api/workers/heartbeat", json=beat)
            assert (bare.status_code, bare.json()["code"]) == (401, "unauthorized")
            assert bare.headers["www-authenticate"] == "Bearer"
            assert (await node.client.get("/api/health")).json() == {"status": "UP"}
            assert "components" in (await node.client.get("/api/health", headers=headers[Scope.READ])).json()
        entries = [stored.entry for stored in await AuditStore(stores.database).page(limit=2)]
        assert [(entry.actor, entry.action, entry.target) for entry in entries] == [
            ("admin", "cluster.step_down", "node1"),
            ("operate", "cluster.step_down", "node1"),
        ]
        assert entries[0].details == {"to": "node2"}


async def distriqueue(url: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command line on a database; exit code, output, errors."""
    env = private_env(DISTRIQUEUE_DATABASE_URL=url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "distriqueue.cli", *arguments),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        said, errors = await process.communicate()
    return process.returncode or 0, said.decode(), errors.decode()


class TestCommandLine:
    async def test_create_list_and_revoke(self, database_url: str, keys: Keys) -> None:
        wanted = ("--scope", "read", "--scope", "submit", "--expires", "30d", "--requests-per-second", "2.5")
        code, said, told = await distriqueue(database_url, "apikey", "create", "a [name]", *wanted)
        token = Token.parse(said.strip())
        assert token is not None
        assert (code, said) == (0, f"{token.text}\n")
        assert f"key {token.key_id} for 'a [name]' allows read submit until 20" in told
        assert token.secret not in told
        assert (await keys.store.recognise(token)) is not None
        listed = json.loads((await distriqueue(database_url, "apikey", "list", "-o", "json"))[1])
        assert [(key["id"], key["scopes"], key["requestsPerSecond"], key["state"]) for key in listed] == [
            (token.key_id, ["read", "submit"], 2.5, "live")
        ]
        table = (await distriqueue(database_url, "apikey", "list"))[1]
        assert "a [name]" in table
        assert token.secret not in table + json.dumps(listed)
        assert (await distriqueue(database_url, "apikey", "revoke", token.key_id))[0] == 0
        assert (await keys.store.recognise(token)) is None
        assert "revoked" in (await distriqueue(database_url, "apikey", "list", "--all"))[1]
        code, _, told = await distriqueue(database_url, "apikey", "revoke", "nobody")
        assert (code, "error: there is no API key nobody" in told) == (5, True)

    async def test_a_database_without_the_tables(self, empty_database_url: str) -> None:
        code, said, told = await distriqueue(empty_database_url, "apikey", "create", "a", "--scope", "read")
        assert (code, said) == (2, "")
        assert "run `distriqueue migrate` first" in told


async def test_without_keys_a_page_of_another_site_may_look_and_not_act(database_url: str) -> None:
    async with running_gateway(database_url) as gateway:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            answer = await gateway.client.post("/api/queues/low/resume", headers={"Sec-Fetch-Site": site})
            assert answer.status_code == status, site
        assert (await gateway.client.get("/api/queues", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200
