"""An outside look at the fence: Postgres's own commit times tell whether an old leader's work ever counted.

A trigger of the test's notes, in each of the duties' transactions, whose it is; `track_commit_timestamp` says when that
and every claim was committed.
"""

import asyncio
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.acceptance.cluster import Cluster, cluster, until
from tests.acceptance.test_cron import schedule_every_second
from tests.servers.postgres import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

AUDIT = """
CREATE TABLE audit (boot text NOT NULL);
CREATE FUNCTION note_duty() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') LIKE 'distriqueue-duties:%' THEN
        INSERT INTO audit VALUES (split_part(current_setting('application_name'), ':', 2));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_duty AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION note_duty();
"""
COMMITS_OF_THE_PAST = """
SELECT a.boot, a.at FROM (SELECT boot, pg_xact_commit_timestamp(xmin) AS at FROM audit) a
 WHERE a.boot <> (SELECT h.boot FROM leadership_history h
                   WHERE pg_xact_commit_timestamp(h.xmin) <= a.at
                   ORDER BY pg_xact_commit_timestamp(h.xmin) DESC LIMIT 1)
"""
LOAD = """
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, due_at, payload)
VALUES ($1, 'calculate', 'LOW', 'scheduled', 3, 60, clock_timestamp() + make_interval(secs => $2), '{}')
"""
TWICE = "SELECT job_id FROM events WHERE was = 'scheduled' GROUP BY job_id HAVING count(*) > 1"
DOUBLED = "SELECT schedule_fire_at FROM jobs WHERE schedule_name = 'tick' GROUP BY 1 HAVING count(*) > 1"


async def test_no_duty_commits_after_a_newer_claim(
    tmp_path: Path, database_url: str, postgres_server: PostgresServer
) -> None:
    await _track_commits(database_url, postgres_server)
    async with cluster(tmp_path, database_url) as nodes:
        await nodes.sql.execute(AUDIT)
        await schedule_every_second(database_url, "tick")
        await nodes.sql.executemany(LOAD, [(uuid4(), 0.02 * number) for number in range(1500)])
        await _freeze_the_leader_in_a_transaction(nodes)
        for _ in range(2):
            leader = await nodes.settled()
            await leader.kill()
            await nodes.settled()
            await leader.start()

        async def over() -> bool:
            return not await nodes.sql.fetchval("SELECT count(*) FROM jobs WHERE status = 'scheduled'")

        await until(over, "the end of the load", timeout_s=60)
        assert await nodes.sql.fetchval("SELECT count(*) FROM audit") > 20
        assert await nodes.sql.fetchval("SELECT count(DISTINCT boot) FROM audit") >= 3
        assert await nodes.sql.fetch(COMMITS_OF_THE_PAST) == []
        await nodes.sql.execute("INSERT INTO audit VALUES ('planted')")  # the checker must see one
        assert [row["boot"] for row in await nodes.sql.fetch(COMMITS_OF_THE_PAST)] == ["planted"]
        assert await nodes.sql.fetch(TWICE) == []
        assert await nodes.sql.fetch(DOUBLED) == []


async def _freeze_the_leader_in_a_transaction(nodes: Cluster) -> None:
    leader = await nodes.settled()
    async with nodes.promotion_held():
        leader.freeze()
    try:
        others = [node for node in nodes.nodes if node is not leader]
        await nodes.settled(others)
        await asyncio.sleep(8)  # frozen well beyond every timeout, while the new leader works
    finally:
        leader.thaw()
    await nodes.settled()


async def _track_commits(database_url: str, server: PostgresServer) -> None:
    connection = await asyncpg.connect(database_url)
    tracked = await connection.fetchval("SHOW track_commit_timestamp")
    if tracked != "on":
        await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()
    if tracked != "on":
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
