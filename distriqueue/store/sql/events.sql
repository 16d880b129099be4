-- Statements of distriqueue/store/events.py.

-- name: after
-- The oldest transaction that still runs comes with the rows: both are of one instant.
SELECT s.xmin, e.*
  FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin) s
  LEFT JOIN LATERAL (
       SELECT seq, at, job_id, attempt, status, type, priority, worker_id, progress, message, batch_id
         FROM events WHERE seq > $1 ORDER BY seq LIMIT $2) e ON true

-- name: newest
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin,
       coalesce((SELECT max(seq) FROM events), (SELECT seq FROM event_floor)) AS seq

-- name: next_xid
-- An id above that of every transaction that has one by now. (The snapshot's xmax is not: it is one above the newest that
-- has ended, and a running one may be beyond it.)
SELECT pg_current_xact_id()::text::bigint

-- name: between
SELECT seq, at, job_id, attempt, status, type, priority, worker_id, progress, message, batch_id
  FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3

-- name: floor
SELECT seq FROM event_floor

-- name: of_job
SELECT seq, at, job_id, attempt, status, type, priority, worker_id, progress, message, batch_id
  FROM events WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
