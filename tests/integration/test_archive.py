"""What retention deletes is in the archive first, whatever fails in between."""

import asyncio
import gzip
import json
import os
import re
import resource
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from distriqueue.core.errors import BadSetting, Fenced, StoreUnavailable
from distriqueue.core.job import JobId, new_job_id
from distriqueue.core.messages import ReportStatus
from distriqueue.generated import ROOT
from distriqueue.settings import BrokerSettings, DutySettings, OrchestratorSettings, StoreSettings, TraceSettings
from distriqueue.store.access import AuditStore
from distriqueue.store.database import Database
from distriqueue.store.export import PAGE_BYTES, lines, pages
from distriqueue.store.reads import JobReader
from distriqueue.store.retention import ARCHIVE_BYTES, Archive, RetentionStore
from distriqueue.store.statistics import StatisticsStore
from gateway.api.views import attempt_view, dumps, job_view
from orchestrator import app
from orchestrator.archive import ArchiveUnavailable, FileArchive
from orchestrator.duties.retention import Kept, Retention
from orchestrator.duties.statistics import Statistics
from orchestrator.duties.supervisor import Supervisor
from orchestrator.metrics import Metrics
from tests.integration.conftest import Stores, new_job
from tests.integration.leader import Leader, leading
from tests.integration.test_together import accept, child, run
from tests.unit.orchestrator.fakes import FakeLeadership

DERIVED = {"queueTimeMs", "executionTimeMs", "totalDurationMs", "omitted", "links"}
LONG_AGO = "now() - interval '100 days'"


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    async with leading(database_url) as each:
        yield each


def retention(leader: Leader, archive: Archive, **options: Any) -> Retention:
    return retention_on(leader.database, archive, **options)


def retention_on(database: Database, archive: Archive | None = None, **options: Any) -> Retention:
    store = RetentionStore(database, archive, **options)
    return Retention(store, StatisticsStore(database), AuditStore(database), Kept.of(DutySettings.load()))


async def run_out(duty: Retention, epoch: int) -> int:
    """Run until nothing is left; return how much was done."""
    done = 0
    while True:
        outcome = await duty.run(epoch)
        done += outcome.done
        if not outcome.more:
            return done


async def old_jobs(leader: Leader, count: int, *, status: str = "completed", payload: str = "{}") -> set[str]:
    """Store jobs that ended long ago; return their ids."""
    ids = [new_job_id() for _ in range(count)]
    await leader.database.fetch(
        "INSERT INTO jobs"
        " (id, type, priority, status, max_retries, execution_timeout_s, payload, created_at, finished_at)"
        f" SELECT id, 'calculate', 'LOW', $2, 3, 60, $3::json, {LONG_AGO}, {LONG_AGO} FROM unnest($1::uuid[]) AS id",
        ids,
        status,
        payload,
    )
    return {str(job_id) for job_id in ids}


async def stored(leader: Leader) -> set[str]:
    return {str(row["id"]) for row in await leader.database.fetch("SELECT id FROM jobs")}


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def archived(directory: Path) -> list[dict[str, Any]]:
    """Read all files as anybody would."""
    found: list[dict[str, Any]] = []
    for file in files(directory):
        with gzip.open(file) as unpacked:
            found += [json.loads(line) for line in unpacked]
    return found


def without_derived(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what the API reckons or links to."""
    return [{key: value for key, value in each.items() if key not in DERIVED} for each in shown]


def ids_of(found: list[dict[str, Any]]) -> list[str]:
    return sorted(job["id"] for job in found)


@dataclass
class Meddled:
    """An archive that lets something happen once the lines are on disk, before the jobs are deleted."""

    inner: FileArchive
    after: Callable[[], Any]
    sizes: list[int] = field(default_factory=list)

    async def append(self, lines: Sequence[bytes], *, epoch: int) -> None:
        await self.inner.append(lines, epoch=epoch)
        self.sizes.append(sum(map(len, lines)))
        await self.after()


async def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Wait for what has no signal."""
    for _ in range(round(within_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"it did not come about within {within_s:g} s")


async def nothing() -> None:
    """Let it be."""


async def whole_job(leader: Leader) -> JobId:
    """Store a job that has something in as many places as it can, and failed long ago after two attempts."""
    [parent] = await old_jobs(leader, 1, status="failed")
    job_id = await leader.submit(max_retries=1, tags=("a", "ü"), metadata_json='{"k":\n"v"}')
    for attempt in (1, 2):
        await leader.run_on("w1", job_id, attempt=attempt)
        await leader.report("w1", job_id, ReportStatus.FAILED, attempt=attempt)
        if attempt == 1:
            await leader.change(job_id, "status = 'pending', attempt = 2")
    await leader.change(
        job_id,
        f"created_at = {LONG_AGO}, finished_at = {LONG_AGO} + interval '1 s', due_at = {LONG_AGO}, progress = 33.3,"
        " progress_message = 'a third', batch_id = gen_random_uuid(), schedule_name = 's', schedule_fire_at = now(),"
        " unique_key = 'u', concurrency_key = 'c', concurrency_limit = 2, callback_url = 'https://example.com/',"
        ' retry_policy = \'{"base": 1,\r\n "factor": 2, "cap": 3, "jitter": false}\', has_parents = true,'
        ' payload = E\'{\\n "text": "line\\\\nbreak é", "n": 1e400}\', error = \'{"type": "E", "message": "no"}\'',
    )
    await leader.database.fetch(
        "INSERT INTO dependencies (parent_id, child_id, place, needed, resolved) VALUES ($1, $2, 0, false, true)",
        parent,
        job_id,
    )
    return job_id


async def test_a_job_is_archived_as_the_api_shows_it_and_then_deleted(leader: Leader, tmp_path: Path) -> None:
    job_id = await whole_job(leader)
    young = await leader.submit()
    reader = JobReader(leader.database)
    shown = orjson.loads(dumps(job_view(await reader.get(job_id))).replace(b"1e400", b'"big"'))
    attempts = without_derived(orjson.loads(dumps([attempt_view(each) for each in await reader.attempts(job_id)])))
    columns = await leader.database.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'jobs'::regclass AND attnum > 0"
    )
    duty = retention(leader, FileArchive.open(tmp_path / "a" / "b", node="node1"))
    assert await run_out(duty, leader.epoch) == 2
    assert await stored(leader) == {str(young)}
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    [file] = files(tmp_path / "a" / "b")
    assert file.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-e1-node1-[0-9a-f]{8}-000001\.jsonl\.gz", file.name)
    texts = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    assert [text.endswith(b"}\n") for text in texts] == [True, True]
    [text] = [text for text in texts if str(job_id).encode() in text[:100]]
    line = orjson.loads(text.replace(b"1e400", b'"big"'))
    [shown] = without_derived([shown])
    assert {key: line[key] for key in shown} == shown
    assert line["attempts"] == attempts
    assert [each["outcome"] for each in attempts] == ["failed", "failed"]
    assert len(line) == len(columns) + len({"dependsOn", "attempts"})  # every column, and what is in other tables


async def test_a_column_of_a_later_schema_comes_along(leader: Leader, tmp_path: Path) -> None:
    duty = retention(leader, FileArchive.open(tmp_path, node="node1"))
    await old_jobs(leader, 1)
    await duty.run(leader.epoch)
    await leader.database.fetch("ALTER TABLE jobs ADD COLUMN some_more jsonb DEFAULT '{\"a\": 1}'")
    await old_jobs(leader, 1)
    await duty.run(leader.epoch)
    assert [job.get("someMore") for job in archived(tmp_path)] == [None, {"a": 1}]


async def test_what_the_manual_says_restores_an_archive(leader: Leader, tmp_path: Path) -> None:
    await whole_job(leader)
    await old_jobs(leader, 5, payload='{"a": "\\u0001, \\\\ and \\"quotes\\""}')
    before = await leader.database.fetch("SELECT to_json(j)::text FROM jobs j ORDER BY id")
    attempts = await leader.database.fetch("SELECT to_json(a)::text FROM attempts a")
    await run_out(retention(leader, FileArchive.open(tmp_path, node="node1")), leader.epoch)
    assert await stored(leader) == set()
    [restore] = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/retention.md").read_text("utf-8"), re.DOTALL)
    unpacked = tmp_path / "unpacked"
    unpacked.write_bytes(b"".join(gzip.decompress(file.read_bytes()) for file in files(tmp_path)))
    async with leader.database.connection() as connection:
        await connection.execute("CREATE TABLE archived (line json)")
        for _ in range(2):  # as if each came twice
            await connection.copy_to_table("archived", source=unpacked, format="csv", quote="\x01", delimiter="\x02")
        await connection.execute(restore)

    def flat(rows: list[Any]) -> list[Any]:
        return [json.loads(row[0].replace("1e400", '"big"')) for row in rows]

    assert flat(await leader.database.fetch("SELECT to_json(j)::text FROM jobs j ORDER BY id")) == flat(before)
    assert flat(await leader.database.fetch("SELECT to_json(a)::text FROM attempts a")) == flat(attempts)


async def test_batches_are_bounded_by_bytes_and_zcat_reads_their_files(leader: Leader, tmp_path: Path) -> None:
    noise = os.urandom(150_000).hex()
    wanted = await old_jobs(leader, 40, payload=f'{{"noise": "{noise}"}}')
    archive = Meddled(FileArchive.open(tmp_path, node="node1"), nothing)
    assert await run_out(retention(leader, archive), leader.epoch) == 40
    assert len(archive.sizes) == 2
    assert ARCHIVE_BYTES <= archive.sizes[0] < ARCHIVE_BYTES + PAGE_BYTES + len(noise)
    assert ids_of(archived(tmp_path)) == sorted(wanted)
    assert len(files(tmp_path)) == 2
    if (zcat := shutil.which("zcat")) is not None:
        process = await asyncio.create_subprocess_exec(zcat, *files(tmp_path), stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(30):
            unpacked, _ = await process.communicate()
        assert (process.returncode, unpacked.count(b"\n")) == (0, 40)


async def test_a_page_holds_what_memory_can(leader: Leader) -> None:
    packed = await old_jobs(leader, 3, payload=json.dumps({"a": "x" * 1_000_000}))
    plain = await old_jobs(leader, 3, payload='{"n": 1}')
    async with leader.database.connection() as connection:
        ids = [JobId(row["id"]) for row in await connection.fetch("SELECT id FROM jobs ORDER BY id")]
        parts = await pages(connection, ids, page_bytes=900_000)
        assert [len(part) for part in parts] == [1, 1, 1, 3]
        assert [{str(each) for each in part} <= packed for part in parts] == [True, True, True, False]
        assert {str(each) for each in parts[-1]} == plain
        assert [line.id for line in await lines(connection, ids)] == ids
    assert 0 < ARCHIVE_BYTES < 2**25


async def lose_the_epoch(leader: Leader) -> None:
    await leader.leadership.claim(leader.epoch + 1, node="node2", boot="boot2")


async def lose_the_connection(leader: Leader) -> None:
    await leader.database.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'idle in transaction'"
    )


@pytest.mark.parametrize(("crash", "error"), [(lose_the_epoch, Fenced), (lose_the_connection, StoreUnavailable)])
async def test_a_crash_before_the_commit_loses_no_job(
    leader: Leader, tmp_path: Path, crash: Callable[[Leader], Any], error: type[Exception]
) -> None:
    wanted = await old_jobs(leader, 20)
    first = Meddled(FileArchive.open(tmp_path, node="node1"), lambda: crash(leader))
    with pytest.raises(error):
        await retention(leader, first).run(leader.epoch)
    assert await stored(leader) == wanted
    second = retention(leader, FileArchive.open(tmp_path, node="node2"))
    epoch = (await leader.database.fetch("SELECT greatest(epoch, 2) AS epoch FROM leadership"))[0]["epoch"]
    await leader.leadership.claim(epoch, node="node2", boot="boot2")
    assert await run_out(second, epoch) == 20
    assert await stored(leader) == set()
    twice = [(job["id"], job["attempt"]) for job in archived(tmp_path)]
    assert len(twice) == 40
    assert set(twice) == {(job_id, 1) for job_id in wanted}
    assert [file.name[10:20] for file in files(tmp_path)] == ["-e1-node1-", "-e2-node2-"]


async def test_leaders_of_one_name_and_epoch_still_write_files_of_their_own(tmp_path: Path) -> None:
    both = [FileArchive.open(tmp_path, node="same") for _ in range(2)]
    for number in range(4):
        await both[number % 2].append([b"%d\n" % number], epoch=1)
    said = [gzip.decompress(file.read_bytes()) for file in files(tmp_path)]
    assert said in ([b"0\n", b"2\n", b"1\n", b"3\n"], [b"1\n", b"3\n", b"0\n", b"2\n"])  # each in its order


async def test_a_file_is_named_after_the_day(tmp_path: Path) -> None:
    days = iter([date(2030, 1, 31), date(2030, 2, 1)])
    archive = FileArchive.open(tmp_path, node="n", today=lambda: next(days))
    for _ in range(2):
        await archive.append([b"{}\n"], epoch=3)
    assert [file.name[:16] for file in files(tmp_path)] == ["2030-01-31-e3-n-", "2030-02-01-e3-n-"]


async def test_a_file_is_on_disk_before_it_has_its_name_and_the_name_before_the_jobs_go(
    leader: Leader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = await old_jobs(leader, 1)
    archive = FileArchive.open(tmp_path, node="node1")
    flushed: list[tuple[str, list[str]]] = []
    fsync = os.fsync

    def seen(fd: int) -> None:
        fsync(fd)
        kind = "directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        flushed.append((kind, [file.name[0] + file.suffix for file in files(tmp_path)]))

    monkeypatch.setattr(os, "fsync", seen)

    async def look() -> None:
        flushed.append(("jobs", [*await stored(leader)]))

    assert await run_out(retention(leader, Meddled(archive, look)), leader.epoch) == 1
    assert [kind for kind, _ in flushed] == ["file", "directory", "jobs"]
    assert [names for _, names in flushed[:2]] == [["..part"], ["2.gz"]]
    assert flushed[2][1] == [job_id]


@contextmanager
def full_after(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_deletes_nothing_and_leaves_what_was_there(leader: Leader, tmp_path: Path) -> None:
    duty = retention(leader, FileArchive.open(tmp_path, node="node1"))
    first = await old_jobs(leader, 1)
    await duty.run(leader.epoch)
    size = files(tmp_path)[0].stat().st_size
    second = await old_jobs(leader, 3, payload=f'"{os.urandom(100_000).hex()}"')
    with full_after(100_000), pytest.raises(ArchiveUnavailable, match="cannot archive to"):
        await duty.run(leader.epoch)
    assert [file.stat().st_size for file in files(tmp_path)] == [size]
    assert await stored(leader) == second
    with full_after(100_000), pytest.raises(ArchiveUnavailable):  # and a new file is not left about
        await duty.run(leader.epoch)
    assert [file.stat().st_size for file in files(tmp_path)] == [size]
    assert await run_out(duty, leader.epoch) == 3
    assert await stored(leader) == set()
    assert ids_of(archived(tmp_path)) == sorted(first | second)


async def test_a_directory_that_is_gone_fails_the_duty_visibly_until_it_is_back(leader: Leader, tmp_path: Path) -> None:
    wanted = await old_jobs(leader, 3)
    away, place = tmp_path / "away", tmp_path / "archive"
    duty = retention(leader, FileArchive.open(place, node="node1"))
    place.rename(away)
    supervisor = Supervisor([duty], FakeLeadership(), observer=Metrics())
    stop = asyncio.Event()
    report = supervisor.reports["retention"]
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(stop))
        await until(lambda: report.last_error is not None)
        assert report.last_error is not None
        assert "cannot archive to" in report.last_error
        assert str(place) in report.last_error
        assert await stored(leader) == wanted
        away.rename(place)
        supervisor.wake()
        await until(lambda: report.done > 0)
        stop.set()
    assert report.failures_in_row == 0
    assert await stored(leader) == set()
    assert ids_of(archived(place)) == sorted(wanted)


async def test_an_archive_that_takes_nothing_holds_up_only_the_jobs(leader: Leader, tmp_path: Path) -> None:
    job_id = await leader.submit()
    await leader.run_on("w1", job_id)
    await leader.database.fetch("UPDATE events SET at = at - interval '10 days'")
    await Statistics(StatisticsStore(leader.database)).run(leader.epoch)
    await leader.database.fetch(
        "UPDATE worker_counts_hourly SET hour = hour - interval '500 days' WHERE hour > '-infinity'"
    )
    await old_jobs(leader, 1)
    duty = retention(leader, FileArchive.open(tmp_path / "a", node="node1"))
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ArchiveUnavailable):
        await duty.run(leader.epoch)
    assert len(await leader.database.fetch("SELECT 1 FROM events")) == 1
    assert await leader.database.fetch("SELECT 1 FROM worker_counts_hourly WHERE hour > '-infinity'") == []


async def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    answers = threading.Event()

    def slow_today() -> date:
        assert answers.wait(20)
        return date(2030, 1, 31)

    archive = FileArchive.open(tmp_path, node="node1", append_s=0.05, today=slow_today)
    try:
        for said in ("took no write within 0.05 s", "an earlier write is still under way"):
            with pytest.raises(ArchiveUnavailable, match=said):
                await archive.append([b"1\n"], epoch=1)
    finally:
        answers.set()
    await until(lambda: len(files(tmp_path)) == 1 and files(tmp_path)[0].suffix == ".gz")
    await until(lambda: archive._writing is not None and archive._writing.done())
    await archive.append([b"2\n"], epoch=1)
    assert [gzip.decompress(file.read_bytes()) for file in files(tmp_path)] == [b"1\n", b"2\n"]  # late, and whole


async def test_what_a_crash_left_half_goes_at_the_next_start(tmp_path: Path) -> None:
    left, others = (
        tmp_path / ".2030-01-31-e7-node.1-0123abcd-000001.part",
        tmp_path / ".2030-01-31-e7-node-1-0123abcd-000001.part",
    )
    mine = tmp_path / "notes.part"
    for file in (left, others, mine):
        file.write_bytes(b"half")
    FileArchive.open(tmp_path, node="node.1")
    assert files(tmp_path) == sorted([others, mine])


async def test_a_wrong_directory_stops_the_start_with_the_settings_name(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=r"DISTRIQUEUE_ARCHIVE_DIR: cannot use .*/file/archive \(Not a directory\)"):
        await app.run(
            OrchestratorSettings.load(orchestrator_port=0, archive_dir=tmp_path / "file" / "archive"),
            StoreSettings.load(database_url=database_url),
            BrokerSettings.load(broker_url=database_url),
            TraceSettings.load(),
        )


async def test_a_parent_stays_until_its_children_are_over(stores: Stores) -> None:
    parent, other = new_job(), new_job()
    kid = child(parent)
    await stores.add(parent, other)
    await accept(stores, kid)
    await run(stores, parent, result={"n": 1})
    await run(stores, other)
    await stores.database.fetch(f"UPDATE jobs SET created_at = {LONG_AGO}")
    await stores.database.fetch(f"UPDATE jobs SET finished_at = {LONG_AGO} WHERE finished_at IS NOT NULL")
    await stores.database.fetch("UPDATE leadership SET epoch = 1")
    duty = retention_on(stores.database)
    assert await run_out(duty, 1) == 1
    assert {row["id"] for row in await stores.database.fetch("SELECT id FROM jobs")} == {parent.id, kid.id}
    await run(stores, kid)
    assert await run_out(duty, 1) == 1
    assert {row["id"] for row in await stores.database.fetch("SELECT id FROM jobs")} == {kid.id}


async def test_a_job_stays_while_something_is_to_follow_from_its_end(leader: Leader) -> None:
    await old_jobs(leader, 2)
    [row] = await leader.database.fetch("INSERT INTO follow_ups SELECT id FROM jobs LIMIT 1 RETURNING job_id")
    duty = retention_on(leader.database)
    assert await run_out(duty, leader.epoch) == 1
    assert await stored(leader) == {str(row["job_id"])}
