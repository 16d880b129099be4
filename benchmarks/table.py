"""A jobs table as a system in use leaves it: mostly completed jobs, few failed or waiting, rare ones long ago."""

from datetime import UTC, datetime
from typing import Any, Final

CHUNK: Final = 50_000
WAITING: Final = 3_000
"""So many of the newest jobs have not ended, whatever the size of the table."""

ID: Final = """
CREATE FUNCTION pg_temp.job_id(n integer, at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000' ||
            lpad(to_hex(n), 12, '0'))::uuid
$$"""
# A job a second, up to now.
MADE: Final = """
CREATE TEMP TABLE made AS
SELECT n, at, pg_temp.job_id(n, at) AS id, pg_temp.job_id(n - 1, at - interval '1 s') AS before, type, status,
       (ARRAY['HIGH', 'MEDIUM', 'LOW'])[1 + n % 3] AS priority,
       status IN ('running', 'completed', 'failed', 'timeout') AS started,
       status IN ('completed', 'failed', 'timeout', 'cancelled') AS ended,
       CASE WHEN n % 100 < 20 THEN pg_temp.job_id(n / 100, '2020-01-01') END AS batch_id,
       CASE WHEN n = 3 THEN 'worker-of-old' WHEN status IN ('running', 'completed', 'failed', 'timeout')
            THEN 'worker-' || n % 20 END AS worker_id
  FROM (SELECT n, CAST('{now}' AS timestamptz) - ({total} - n) * interval '1 s' AS at,
               CASE WHEN n = 5 THEN 'type-of-old' WHEN n % 10 < 5 THEN 'calculate'
                    ELSE (ARRAY['transform', 'validate', 'mail', 'report', 'resize'])[n % 10 - 4] END AS type,
               CASE WHEN n IN (1, 2, 4, 5, 6) THEN 'cancelled' WHEN n % 200 = 1 THEN 'failed'
                    WHEN n % 1000 = 3 THEN 'timeout'
                    WHEN n <= {total} - {waiting} THEN 'completed' WHEN n % 20 = 19 THEN 'blocked'
                    WHEN n % 10 = 4 THEN 'running' WHEN n % 10 = 5 THEN 'scheduled' WHEN n % 4 = 0 THEN 'queued'
                    ELSE 'pending' END AS status
          FROM generate_series({first}, {last}) AS n) AS numbered"""
INSERTS: Final = """
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, attempt, failures, worker_id, progress,
                  created_at, ready_at, queued_at, started_at, finished_at, due_at, tags, payload, result, error,
                  fingerprint, batch_id, schedule_name, schedule_fire_at, waits_for, has_parents, followed)
SELECT id, type, priority, status, 3, 300, 1, (status IN ('failed', 'timeout'))::int, worker_id,
       CASE WHEN status = 'completed' THEN 100 END, at, at, CASE WHEN started OR status = 'queued' THEN at END,
       CASE WHEN started THEN at END, CASE WHEN ended THEN at END,
       CASE WHEN status = 'scheduled' THEN now() + interval '1 d' END,
       CASE WHEN n BETWEEN 50 AND 60 THEN ARRAY['old'] WHEN n % 1000 = 8 THEN ARRAY['all', 'rare']
            WHEN n % 2 = 0 THEN ARRAY['all'] ELSE '{}' END,
       json_build_object('n', n, 'text', repeat('x', 100)),
       CASE WHEN status = 'completed' THEN '{"sum": 1}'::json END,
       CASE WHEN status IN ('failed', 'timeout') THEN json_build_object('type', 'E', 'message', 'no ' || n % 53) END,
       CASE WHEN status IN ('failed', 'timeout') THEN lpad(to_hex(n % 53), 16, '0') END,
       batch_id, CASE WHEN n % 50 = 30 THEN 'nightly' END, CASE WHEN n % 50 = 30 THEN at END,
       (status = 'blocked')::int, n % 20 = 19, n % 20 = 18
  FROM made;
INSERT INTO dependencies (parent_id, child_id, place, needed, resolved)
SELECT before, id, 0, true, status <> 'blocked' FROM made WHERE n % 20 = 19;
INSERT INTO batches (id, jobs, created_at)
SELECT batch_id, count(*), min(at) FROM made WHERE batch_id IS NOT NULL GROUP BY 1
    ON CONFLICT (id) DO UPDATE SET jobs = batches.jobs + excluded.jobs;
INSERT INTO events (at, job_id, attempt, status, was, type, priority, worker_id, took_ms, batch_id, created_at)
SELECT made.at, id, 1, step.status, step.was, type, priority, CASE WHEN step.was IS NOT NULL THEN worker_id END,
       CASE WHEN step.was IS NOT NULL THEN 5 END, batch_id, made.at
  FROM made CROSS JOIN LATERAL (VALUES
       (CASE WHEN started OR ended OR made.status = 'queued' THEN 'pending' ELSE made.status END, NULL, true),
       ('running', 'pending', started),
       (made.status, CASE WHEN started THEN 'running' ELSE 'pending' END, ended OR made.status = 'queued'))
       AS step (status, was, made)
 WHERE step.made;
DROP TABLE made"""
# What triggers and the leader's duties have done by now.
SUMS: Final = """
INSERT INTO job_listing (created_at, id, type, priority, schedule_name)
SELECT created_at, id, type, priority, schedule_name FROM jobs ORDER BY created_at;
INSERT INTO job_tags (tag, created_at, id)
SELECT tag, created_at, id FROM jobs, unnest(tags) AS tag ORDER BY created_at;
INSERT INTO job_totals (hour, status, jobs)
SELECT of.hour, status, count(*) FROM jobs CROSS JOIN LATERAL
       (VALUES (date_trunc('hour', created_at, 'UTC')), ('-infinity'::timestamptz)) AS of (hour) GROUP BY 1, 2;
INSERT INTO job_counts_hourly
       (hour, type, priority, submitted, started, completed, failed, cancelled, retried, queue_ms, run_ms)
SELECT of.hour, type, priority, count(*), count(started_at), count(*) FILTER (WHERE status = 'completed'),
       count(*) FILTER (WHERE status IN ('failed', 'timeout')), count(*) FILTER (WHERE status = 'cancelled'), 0, 1, 1
  FROM jobs CROSS JOIN LATERAL
       (VALUES (date_trunc('hour', created_at, 'UTC')), ('-infinity'::timestamptz)) AS of (hour) GROUP BY 1, 2, 3;
INSERT INTO worker_counts_hourly (hour, worker_id, started, completed, failed, queue_ms, run_ms)
SELECT date_trunc('hour', created_at, 'UTC'), worker_id, count(*), count(*) FILTER (WHERE status = 'completed'),
       count(*) FILTER (WHERE status IN ('failed', 'timeout')), 1, 1
  FROM jobs WHERE worker_id IS NOT NULL GROUP BY 1, 2;
UPDATE event_rollup SET seq = (SELECT max(seq) FROM events) - 1000"""


async def fill(connection: Any, jobs: int) -> None:
    """Fill the tables of a migrated, empty database."""
    tables = ("jobs", "dependencies", "batches", "events")
    now = datetime.now(UTC).isoformat()
    for table in tables:
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    await connection.execute(ID)
    for first in range(1, jobs + 1, CHUNK):
        last = min(first + CHUNK - 1, jobs)
        waiting = min(WAITING, jobs // 2)
        await connection.execute(MADE.format(now=now, total=jobs, waiting=waiting, first=first, last=last), timeout=600)
        await connection.execute(INSERTS, timeout=600)
    for table in tables:
        await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")
    await connection.execute(SUMS, timeout=600)
    await connection.execute("VACUUM ANALYZE", timeout=600)
    await connection.execute("CHECKPOINT", timeout=600)
