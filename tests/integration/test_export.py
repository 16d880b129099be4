"""`distriqueue export` on a real Postgres."""

import asyncio
import gzip
import json
import os
import signal
import stat
import sys
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
from typer.testing import CliRunner

from distriqueue.cli.app import app
from distriqueue.core.errors import BadSetting, DistriQueueError, NotFound
from distriqueue.core.job import Priority
from distriqueue.store.jobs import JobStore
from distriqueue.store.reads import JobReader
from gateway.api.views import dumps, job_view
from tests.integration.conftest import Stores, new_job
from tests.integration.test_archive import until, without_derived
from tests.servers.process import private_env

EVENING = datetime(2030, 1, 31, 18, 30, tzinfo=UTC)


@dataclass
class Said:
    """What one run of the command said."""

    out: bytes
    err: str

    @property
    def jobs(self) -> list[Any]:
        """What it wrote to standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


async def exported(url: str, *arguments: str) -> Said:
    """Run `distriqueue export`."""

    def invoke() -> Said:
        result = CliRunner().invoke(app, ["export", "--database-url", url, *arguments])
        if isinstance(result.exception, DistriQueueError):
            raise result.exception
        assert result.exit_code == 0, result.stderr
        return Said(result.stdout_bytes, result.stderr)

    return await asyncio.to_thread(invoke)


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


@pytest.fixture
async def url(stores: Stores, database_url: str) -> str:
    """A database with four jobs, an hour apart; the newest was retried."""
    batch = uuid4()
    jobs = [
        new_job(type="calculate", tags=("a",), batch_id=batch),
        new_job(type="transform", tags=("a", "b"), priority=Priority.LOW),
        new_job(type="validate", tags=("b",)),
        new_job(type="calculate", tags=("a", "b"), batch_id=batch, priority=Priority.CRITICAL, payload={"é": "\n"}),
    ]
    await stores.add(*jobs)
    for hour, job in enumerate(jobs):
        at = EVENING + timedelta(hours=4 * hour)
        await stores.database.fetch("UPDATE jobs SET created_at = $2 WHERE id = $1", job.id, at)
    await stores.report(jobs[3], "running")
    await stores.report(jobs[3], "failed", error_message="once")
    await stores.report(jobs[1], "running")
    await stores.report(jobs[1], "completed", result=[1, None])
    return database_url


async def test_all_jobs_newest_first_as_the_api_shows_them(url: str, stores: Stores) -> None:
    said = await exported(url)
    assert [job["createdAt"] for job in said.jobs] == sorted((job["createdAt"] for job in said.jobs), reverse=True)
    assert said.err == "exported 4 jobs\n"
    for job in said.jobs:
        [shown] = without_derived([json.loads(dumps(job_view(await stores.reader.get(job["id"]))))])
        assert {key: job[key] for key in shown} == shown
    assert [[each["outcome"] for each in job["attempts"]] for job in said.jobs] == [["failed"], [], ["completed"], []]
    assert all("attempts" not in job for job in (await exported(url, "--no-attempts")).jobs)


FILTERS: Final[tuple[tuple[list[str], list[int]], ...]] = (
    ([], [3, 2, 1, 0]),
    (["--status", "COMPLETED"], [1]),
    (["--status", "retrying", "--status", "completed"], [3, 1]),
    (["--type", "calculate"], [3, 0]),
    (["--type", "validate", "--type", "transform"], [2, 1]),
    (["--priority", "low", "--priority", "Critical"], [3, 1]),
    (["--tag", "a", "--tag", "b"], [3, 1]),
    (["--from", "2030-02-01"], [3, 2]),
    (["--to", "2030-02-01"], [1, 0]),
    (["--from", "2030-01-31T23:30:00+01:00", "--to", "2030-02-01T02:30:00.000001Z"], [2, 1]),
    (["--batch", "BATCH"], [3, 0]),
    (["--type", "calculate", "--tag", "b"], [3]),
    (["--batch", "00000000-0000-0000-0000-000000000000"], []),
)
"""Arguments, and which of the four jobs they find."""


async def test_filters(url: str, stores: Stores) -> None:
    rows = await stores.database.fetch("SELECT id, batch_id FROM jobs ORDER BY created_at")
    places = {str(row["id"]): place for place, row in enumerate(rows)}
    for arguments, found in FILTERS:
        given = [str(rows[0]["batch_id"]) if each == "BATCH" else each for each in arguments]
        assert [places[job["id"]] for job in (await exported(url, *given)).jobs] == found, arguments


async def test_a_file_is_packed_by_its_name_private_and_replaces_an_earlier_one(url: str, tmp_path: Path) -> None:
    packed, plain = tmp_path / "jobs.jsonl.gz", tmp_path / "jobs.jsonl"
    plain.write_text("from before")
    for file in (packed, plain):
        said = await exported(url, "--output", str(file))
        assert (said.out, said.err) == (b"", f"exported 4 jobs to {file}\n")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes() == (await exported(url)).out
    assert names(tmp_path) == [plain.name, packed.name]


@pytest.fixture
async def many(stores: Stores, database_url: str) -> str:
    """A database with 12,000 jobs of about 2 KB."""
    await stores.database.fetch(
        "INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, created_at, payload)"
        " SELECT gen_random_uuid(), 'calculate', 'LOW', 'pending', 3, 60, now() - (n / 3) * interval '1 s',"
        " json_build_object('n', n, 'text', repeat('x', 1800)) FROM generate_series(1, 12000) AS n"
    )
    return database_url


async def test_many_jobs_take_no_more_memory_than_a_page(many: str, tmp_path: Path) -> None:
    file = tmp_path / "all"
    tracemalloc.start()
    try:
        await exported(many, "--output", str(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    numbers = set()
    with file.open("rb") as lines:
        for line in lines:
            numbers.add(json.loads(line)["payload"]["n"])
    assert len(numbers) == 12_000
    assert file.stat().st_size > 24_000_000
    assert peak < 18_000_000


async def test_a_job_that_changes_while_its_page_is_read_is_left_out(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [new_job() for _ in range(3)]
    await stores.add(*jobs)
    positions = JobReader.positions

    async def then_change(self: JobReader, *arguments: Any, **options: Any) -> Any:
        found = await positions(self, *arguments, **options)
        if not found:
            return found
        await JobStore(self._database).cancel(jobs[0].id)  # its own: the command has a loop of its own
        await self._database.fetch("DELETE FROM jobs WHERE id = $1", jobs[1].id)
        return found

    monkeypatch.setattr(JobReader, "positions", then_change)
    said = await exported(database_url, "--status", "pending")
    assert [job["id"] for job in said.jobs] == [str(jobs[2].id)]
    assert said.err == "exported 1 job\n"


async def test_ctrl_c_leaves_no_half_file_and_the_earlier_one(many: str, tmp_path: Path) -> None:
    file = tmp_path / "all"
    file.write_text("from before")
    connection = await asyncpg.connect(many)
    try:
        await connection.execute(
            "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"
        )  # the export waits until it is told to end
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "distriqueue.cli", "export", "--output", str(file)),
            env=private_env(DISTRIQUEUE_DATABASE_URL=many),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await until(lambda: len(names(tmp_path)) == 2)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(20):
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        await connection.close()
    assert process.returncode in (1, 130)
    assert b"Traceback" not in errors
    assert names(tmp_path) == ["all"]
    assert file.read_text() == "from before"


async def test_a_reader_that_has_enough_is_no_failure_to_tell_of(many: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "distriqueue.cli", "export"),
        env=private_env(DISTRIQUEUE_DATABASE_URL=many),
        stdout=(pipe := os.pipe())[1],
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(pipe[1])
    try:
        assert await asyncio.to_thread(os.read, pipe[0], 100)
        os.close(pipe[0])
        async with asyncio.timeout(20):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "--from must be a date or a time with its offset"),
        (["--to", "2030-01-31T12:00:00"], "--to must be a date or a time with its offset"),
        (["--from", "0001-01-01T00:00:00+23:00"], "--from must be a date or a time with its offset"),
        (["--output", "."], "--output . is not a file"),
        (["--output", "missing/file"], "--output: cannot write missing/file (No such file or directory)"),
    ],
)
async def test_wrong_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSetting) as wrong:
        await exported("postgresql://localhost:1/none", *arguments)
    assert wrong.value.message.startswith(said)
    assert names(tmp_path) == []


async def test_a_database_without_the_schema_says_what_to_do(empty_database_url: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="run `distriqueue migrate` first"):
        await exported(empty_database_url, "--output", str(tmp_path / "all"))
    assert names(tmp_path) == []


async def test_without_a_stack_or_a_database_it_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no stack runs in .*: name its home by --home, or the database by"):
        await exported("", "--home", str(tmp_path / "none"), "--output", str(tmp_path / "all"))
    assert names(tmp_path) == []
