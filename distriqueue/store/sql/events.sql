-- Statements of distriqueue/store/events.py.

-- name: after
-- The snapshot's bounds come with the rows: both are of one instant.
SELECT s.xmin, s.xmax, e.*
  FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin,
               pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax) s
  LEFT JOIN LATERAL (
       SELECT seq, at, job_id, attempt, status, type, priority, worker_id, progress, batch_id
         FROM events WHERE seq > $1 ORDER BY seq LIMIT $2) e ON true

-- name: newest
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax,
       coalesce((SELECT max(seq) FROM events), (SELECT seq FROM event_floor)) AS seq

-- name: between
SELECT seq, at, job_id, attempt, status, type, priority, worker_id, progress, batch_id
  FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3

-- name: floor
SELECT seq FROM event_floor

-- name: of_job
SELECT seq, at, job_id, attempt, status, type, priority, worker_id, progress, batch_id
  FROM events WHERE job_id = $1 ORDER BY seq LIMIT $2
