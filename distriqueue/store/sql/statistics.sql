-- Statements of distriqueue/store/statistics.py: the event log summed up, and read.

-- name: ceiling
-- Every number up to `seq` was drawn by a transaction below `xid`: see distriqueue/store/events.py on gaps.
SELECT (SELECT seq FROM event_rollup) AS rolled, coalesce((SELECT max(seq) FROM events), 0) AS seq

-- name: waiting
SELECT (SELECT coalesce(sum(jobs), 0) FROM job_totals WHERE hour = '-infinity' AND status IN ('pending', 'queued')) AS waiting,
       coalesce((SELECT max(seq) FROM events), 0) - (SELECT seq FROM event_rollup) AS behind

-- name: stored
SELECT status, jobs FROM job_totals WHERE hour = '-infinity'

-- name: next_xid
SELECT pg_current_xact_id()::text::bigint

-- name: xmin
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint

-- name: cursor
SELECT seq FROM event_rollup FOR UPDATE

-- name: roll_totals
-- Summed up by pairs of states first, for there are few of those. Rows are written in the order of their keys: retention
-- writes some of them too.
INSERT INTO job_totals AS t (hour, status, jobs)
SELECT of.hour, change.status, sum(change.jobs)
  FROM (SELECT date_bin('1 hour', created_at, 'epoch') AS hour, status, was, count(*) AS jobs
          FROM events
         WHERE seq > $1 AND seq <= $2 AND status IS DISTINCT FROM was
         GROUP BY 1, 2, 3) AS step
 CROSS JOIN LATERAL (VALUES (step.status, step.jobs), (step.was, -step.jobs)) AS change (status, jobs)
 CROSS JOIN LATERAL (VALUES (step.hour), ('-infinity')) AS of (hour)
 WHERE change.status IS NOT NULL
 GROUP BY of.hour, change.status
HAVING sum(change.jobs) <> 0
 ORDER BY of.hour, change.status
    ON CONFLICT (hour, status) DO UPDATE SET jobs = t.jobs + excluded.jobs

-- name: roll_counts
INSERT INTO job_counts_hourly AS c
       (hour, type, priority, submitted, started, completed, failed, cancelled, retried, queue_ms, run_ms)
SELECT of.hour, type, priority, sum(submitted), sum(started), sum(completed), sum(failed), sum(cancelled), sum(retried),
       sum(queue_ms), sum(run_ms)
  FROM (SELECT date_bin('1 hour', at, 'epoch') AS hour, type, priority,
               count(*) FILTER (WHERE was IS NULL) AS submitted,
               count(*) FILTER (WHERE status = 'running') AS started,
               count(*) FILTER (WHERE status = 'completed') AS completed,
               count(*) FILTER (WHERE status IN ('failed', 'timeout')) AS failed,
               count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
               count(*) FILTER (WHERE status = 'retrying') AS retried,
               coalesce(sum(took_ms::float8) FILTER (WHERE status = 'running'), 0) AS queue_ms,
               coalesce(sum(took_ms::float8) FILTER (WHERE status = 'completed'), 0) AS run_ms
          FROM events
         WHERE seq > $1 AND seq <= $2 AND status IS DISTINCT FROM was
           AND (was IS NULL OR status NOT IN ('pending', 'queued'))
         GROUP BY 1, 2, 3) AS kind
 CROSS JOIN LATERAL (VALUES (kind.hour), ('-infinity')) AS of (hour)
 GROUP BY of.hour, type, priority
    ON CONFLICT (hour, type, priority) DO UPDATE
   SET submitted = c.submitted + excluded.submitted, started = c.started + excluded.started,
       completed = c.completed + excluded.completed, failed = c.failed + excluded.failed,
       cancelled = c.cancelled + excluded.cancelled, retried = c.retried + excluded.retried,
       queue_ms = c.queue_ms + excluded.queue_ms, run_ms = c.run_ms + excluded.run_ms

-- name: roll_workers
INSERT INTO worker_counts_hourly AS c (hour, worker_id, started, completed, failed, queue_ms, run_ms)
SELECT date_bin('1 hour', at, 'epoch'), worker_id,
       count(*) FILTER (WHERE status = 'running'),
       count(*) FILTER (WHERE status = 'completed'),
       count(*) FILTER (WHERE status IN ('failed', 'timeout')),
       coalesce(sum(took_ms::float8) FILTER (WHERE status = 'running'), 0),
       coalesce(sum(took_ms::float8) FILTER (WHERE status = 'completed'), 0)
  FROM events
 WHERE seq > $1 AND seq <= $2 AND status IN ('running', 'completed', 'failed', 'timeout') AND status <> was
   AND worker_id IS NOT NULL
 GROUP BY 1, worker_id
    ON CONFLICT (hour, worker_id) DO UPDATE
   SET started = c.started + excluded.started, completed = c.completed + excluded.completed,
       failed = c.failed + excluded.failed, queue_ms = c.queue_ms + excluded.queue_ms, run_ms = c.run_ms + excluded.run_ms

-- name: steps
-- What roll_counts adds up, by kinds, for metrics: times by the buckets between $3, in seconds.
SELECT status, was, priority, is_webhook, width_bucket(took_s, $3::float8[]) AS took_bucket,
       width_bucket(total_s, $3::float8[]) AS total_bucket, count(*) AS jobs,
       coalesce(sum(took_s), 0) AS took_s, coalesce(sum(total_s), 0) AS total_s
  FROM (SELECT status, was, priority, type = 'distriqueue.webhook' AS is_webhook,
               CASE WHEN took_ms IS NOT NULL THEN greatest(took_ms::float8, 0) / 1000 END AS took_s,
               CASE WHEN status IN ('completed', 'failed', 'timeout')
                    THEN greatest(extract(epoch FROM at - created_at)::float8, 0) END AS total_s
          FROM events
         WHERE seq > $1 AND seq <= $2 AND status IS DISTINCT FROM was
           AND (was IS NULL OR status NOT IN ('pending', 'queued'))) AS step
 GROUP BY 1, 2, 3, 4, 5, 6

-- name: move_cursor
UPDATE event_rollup SET seq = $1

-- name: forget_hours
-- Sums over all time are in the rows of '-infinity'; totals of an hour go when their jobs are gone.
WITH counts AS (
    DELETE FROM job_counts_hourly WHERE hour > '-infinity' AND hour < now() - make_interval(secs => $1) RETURNING 1
), workers AS (
    DELETE FROM worker_counts_hourly WHERE hour < now() - make_interval(secs => $2) RETURNING 1
), totals AS (
    DELETE FROM job_totals WHERE jobs = 0 AND hour > '-infinity' AND hour < now() - interval '1 day' RETURNING 1
)
SELECT (SELECT count(*) FROM counts) + (SELECT count(*) FROM workers) + (SELECT count(*) FROM totals)

-- name: read
-- The sums, and what is not summed up yet, as one instant sees both: $1 to $2 are whole hours, and everything when $3.
-- By hour and by worker, everything is the newest $4 hours. At most $5 events are added; `behind` says how many.
WITH tail AS MATERIALIZED (
    SELECT at, status, was, type, priority, worker_id, took_ms, created_at
      FROM event_rollup r
     CROSS JOIN LATERAL (SELECT * FROM events WHERE events.seq > r.seq ORDER BY events.seq LIMIT $5) AS e
), total AS (
    SELECT status, sum(jobs) AS jobs
      FROM (SELECT status, jobs FROM job_totals WHERE $3 AND hour = '-infinity'
             UNION ALL
            SELECT status, jobs FROM job_totals WHERE NOT $3 AND hour >= $1::timestamptz AND hour < $2::timestamptz
             UNION ALL
            SELECT change.status, change.jobs
              FROM tail CROSS JOIN LATERAL (VALUES (tail.status, 1), (tail.was, -1)) AS change (status, jobs)
             WHERE tail.status IS DISTINCT FROM tail.was AND change.status IS NOT NULL
               AND ($3 OR tail.created_at >= $1 AND tail.created_at < $2)) AS parts
     GROUP BY status HAVING sum(jobs) <> 0
), fresh AS (
    SELECT date_trunc('hour', at, 'UTC') AS hour, type, priority, worker_id, status, was, took_ms
      FROM tail
     WHERE status IS DISTINCT FROM was AND (was IS NULL OR status NOT IN ('pending', 'queued'))
       AND ($3 OR at >= $1 AND at < $2)
), count AS (
    SELECT hour, type, priority, submitted, started, completed, failed, cancelled, retried, queue_ms, run_ms
      FROM job_counts_hourly
     WHERE hour >= CASE WHEN $3 THEN now() - make_interval(hours => $4) ELSE $1 END AND hour < $2
     UNION ALL
    SELECT hour, type, priority, submitted, started, completed, failed, cancelled, retried, queue_ms, run_ms
      FROM job_counts_hourly
     WHERE $3 AND hour = '-infinity'
     UNION ALL
    SELECT of.hour, type, priority,
           count(*) FILTER (WHERE was IS NULL),
           count(*) FILTER (WHERE status = 'running'),
           count(*) FILTER (WHERE status = 'completed'),
           count(*) FILTER (WHERE status IN ('failed', 'timeout')),
           count(*) FILTER (WHERE status = 'cancelled'),
           count(*) FILTER (WHERE status = 'retrying'),
           coalesce(sum(took_ms::float8) FILTER (WHERE status = 'running'), 0),
           coalesce(sum(took_ms::float8) FILTER (WHERE status = 'completed'), 0)
      FROM fresh
     CROSS JOIN LATERAL (VALUES (fresh.hour), ('-infinity')) AS of (hour)
     WHERE $3 OR of.hour > '-infinity'
     GROUP BY of.hour, type, priority
), worker AS (
    SELECT worker_id, started, completed, failed, queue_ms, run_ms
      FROM worker_counts_hourly
     WHERE hour >= CASE WHEN $3 THEN now() - make_interval(hours => $4) ELSE $1 END AND hour < $2
     UNION ALL
    SELECT worker_id,
           count(*) FILTER (WHERE status = 'running'),
           count(*) FILTER (WHERE status = 'completed'),
           count(*) FILTER (WHERE status IN ('failed', 'timeout')),
           coalesce(sum(took_ms::float8) FILTER (WHERE status = 'running'), 0),
           coalesce(sum(took_ms::float8) FILTER (WHERE status = 'completed'), 0)
      FROM fresh
     WHERE worker_id IS NOT NULL
     GROUP BY worker_id
), shown AS (
    SELECT * FROM count WHERE ($3 AND hour = '-infinity') OR (NOT $3 AND hour > '-infinity')
)
SELECT 'status' AS kind, status AS name, NULL::timestamptz AS hour, jobs::bigint AS jobs, 0::bigint AS started,
       0::bigint AS completed, 0::bigint AS failed, 0::bigint AS cancelled, 0::bigint AS retried,
       0::float8 AS queue_ms, 0::float8 AS run_ms
  FROM total
 UNION ALL
SELECT CASE WHEN grouping(type) = 0 THEN 'type' WHEN grouping(priority) = 0 THEN 'priority' ELSE 'all' END,
       coalesce(type, priority), NULL, sum(submitted)::bigint, sum(started)::bigint, sum(completed)::bigint, sum(failed)::bigint,
       sum(cancelled)::bigint, sum(retried)::bigint, sum(queue_ms), sum(run_ms)
  FROM shown GROUP BY GROUPING SETS ((), (type), (priority))
 UNION ALL
SELECT 'hour', NULL, hour, sum(submitted)::bigint, sum(started)::bigint, sum(completed)::bigint, sum(failed)::bigint,
       sum(cancelled)::bigint, sum(retried)::bigint, sum(queue_ms), sum(run_ms)
  FROM count WHERE hour > '-infinity' GROUP BY hour
 UNION ALL
(SELECT 'worker', worker_id, NULL, sum(started)::bigint, sum(started)::bigint, sum(completed)::bigint, sum(failed)::bigint, 0, 0,
       sum(queue_ms), sum(run_ms)
  FROM worker GROUP BY worker_id ORDER BY sum(started) DESC, worker_id LIMIT $6)
 UNION ALL
SELECT 'behind', NULL, NULL, count(*), 0, 0, 0, 0, 0, 0, 0 FROM tail
