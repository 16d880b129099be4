"""`distriqueue doctor`, `top` and refusals, on a real gateway and database."""

import asyncio
import json
import signal
from typing import Any

import asyncpg
import pytest

from distriqueue.cli import checks, probes
from distriqueue.cli.checks import Finding, Level
from distriqueue.cli.exits import Exit
from distriqueue.core.access import Scope, Token
from distriqueue.core.messages import Heartbeat
from distriqueue.store.access import AccessStore, NewKey
from distriqueue.store.workers import WorkerStore
from tests.integration.cli.conftest import PROGRAM, CommandLine


async def heard(distriqueue: CommandLine) -> None:
    """Let a worker live."""
    beat = Heartbeat.model_validate({"workerId": "w1", "capacity": 4, "currentLoad": 0, "types": ["a"]})
    await WorkerStore(distriqueue.gateway.parts.database).record([beat])


async def key(distriqueue: CommandLine, *scopes: Scope) -> str:
    """Make an API key, and wait until the gateway asks for one; it looks once a second."""
    token = Token.new()
    await AccessStore(distriqueue.gateway.parts.database).create(
        token, NewKey("somebody", frozenset(scopes)), actor="test"
    )
    async with asyncio.timeout(10):
        while (await distriqueue.gateway.client.get("/api/jobs")).status_code != 401:  # noqa: ASYNC110 -- it is asked
            await asyncio.sleep(0.02)
    return token.text


def levels(said: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in said["checks"]:
        found.setdefault(each["what"], set()).add(each["level"])
    return found


class TestDoctor:
    async def test_all_is_well(self, distriqueue: CommandLine, database_url: str) -> None:
        await heard(distriqueue)
        places = ("--database-url", database_url, "--broker-url", database_url)
        said = (await distriqueue("doctor", *places, "-o", "json")).json
        found = levels(said)
        assert said["healthy"] is True
        assert {what for what, level in found.items() if level == {"ok"}} >= {
            "python", "version", "database", "schema", "clock", "broker", "gateway", "workers",
        }  # fmt: skip
        assert found["orchestrators"] == {"note"}
        assert "all is well" in (await distriqueue("doctor", *places)).out

    async def test_no_worker_and_no_schema(self, distriqueue: CommandLine, empty_database_url: str) -> None:
        said = (await distriqueue("doctor", "--database-url", empty_database_url, "-o", "json", code=1)).json
        do = {each["what"]: each["do"] for each in said["checks"] if each["level"] == "problem"}
        assert do == {"schema": "run `distriqueue migrate`", "workers": "start one by `distriqueue worker`"}

    async def test_what_does_not_answer(self, distriqueue: CommandLine) -> None:
        places = {
            "--url": "http://127.0.0.1:1",
            "--database-url": "postgresql://u@127.0.0.1:1/d",
            "--broker-url": "amqp://u:secret@127.0.0.1:1/",
            "--orchestrators": "http://127.0.0.1:1",
        }
        given = [each for pair in places.items() for each in pair]
        said = await distriqueue("doctor", *given, "-o", "json", code=3)
        problems = {each["what"] for each in said.json["checks"] if each["level"] == "problem"}
        assert problems == {"database", "broker", "gateway", "orchestrators"}
        assert all(each["do"] for each in said.json["checks"] if each["level"] == "problem")
        assert "secret" not in said.out + said.err

    async def test_a_wrong_key_is_a_refusal(self, distriqueue: CommandLine) -> None:
        await key(distriqueue, Scope.ADMIN)
        said = (await distriqueue("doctor", "-o", "json", code=4)).json
        [gateway] = [each for each in said["checks"] if each["what"] == "gateway"]
        assert "`distriqueue apikey create NAME --scope read` makes one" in gateway["do"]

    async def test_a_newer_schema_and_a_paused_queue_are_told(
        self, distriqueue: CommandLine, database_url: str
    ) -> None:
        await heard(distriqueue)
        await distriqueue("queues", "pause", "low")
        connection = await asyncpg.connect(database_url)
        try:
            await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        finally:
            await connection.close()
        said = (await distriqueue("doctor", "--database-url", database_url, "-o", "json", code=1)).json
        told = {each["what"]: each["said"] for each in said["checks"] if each["level"] != "ok"}
        assert told["schema"].startswith("at 9999, and this version needs")
        assert told["queues"] == "job.low is paused"

    @pytest.mark.parametrize(("shift", "level"), [("0.1 s", Level.OK), ("5 s", Level.NOTE), ("-2 min", Level.PROBLEM)])
    async def test_clocks(self, database_url: str, shift: str, level: Level) -> None:
        connection = await asyncpg.connect(database_url)
        try:
            await connection.execute(
                f"CREATE SCHEMA shifted; CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
                f" AS $$ SELECT pg_catalog.clock_timestamp() + interval '{shift}' $$;"
                " SET search_path = shifted, pg_catalog, public"
            )
            found = await probes._clock(connection)
        finally:
            await connection.close()
        assert found.level is level

    def test_the_worst_decides(self) -> None:
        bad = [checks.problem("a", "b", "c", code) for code in (Exit.FAILED, Exit.REFUSED)]
        assert checks.worst([checks.ok("a", "b"), Finding("a", Level.NOTE, "b")]) == 0
        assert checks.worst(bad) == 4


class TestTop:
    async def test_once(self, distriqueue: CommandLine) -> None:
        await heard(distriqueue)
        await distriqueue.gateway.submit()
        said = (await distriqueue("top", "--once")).out
        assert all(text in said for text in ("job.critical", "w1", "0/4", "this hour: 1 submitted", "leader not known"))
        sample = (await distriqueue("top", "--once", "-o", "json")).json
        assert [each["name"] for each in sample["queues"]][:1] == ["job.critical"]
        assert [each["workerId"] for each in sample["workers"]] == ["w1"]

    async def test_ctrl_c_ends_the_live_view(self, distriqueue: CommandLine) -> None:
        await heard(distriqueue)
        process = await asyncio.create_subprocess_exec(
            *(*PROGRAM, "top", "--interval", "0.5", "-o", "json"),
            env=distriqueue.env(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(20):
            samples = [json.loads(await process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
        assert samples[0]["at"] < samples[1]["at"]
        assert (process.returncode, errors) == (130, b"")


class TestRefusals:
    async def test_without_a_key_it_says_how_to_get_one(self, distriqueue: CommandLine) -> None:
        await key(distriqueue, Scope.READ)
        for command, scope in (
            (("jobs", "list"), "read"),
            (("submit", "a"), "submit"),
            (("queues", "pause", "low"), "operate"),
        ):
            said = await distriqueue(*command, code=4)
            assert (
                f"`distriqueue apikey create NAME --scope {scope}` makes one, DISTRIQUEUE_API_KEY passes it" in said.err
            )

    async def test_with_a_key_it_is_let_in_as_far_as_the_key_goes(self, distriqueue: CommandLine) -> None:
        token = await key(distriqueue, Scope.READ)
        await distriqueue("jobs", "list", DISTRIQUEUE_API_KEY=token)
        said = await distriqueue("submit", "a", code=4, DISTRIQUEUE_API_KEY=token)
        assert "this takes the scope `submit`; the API key 'somebody' has: read" in said.err
        assert token not in said.err
