-- Statements of distriqueue/store/batches.py.

-- name: batch
SELECT id, name, jobs, sequential, stop_on_failure, max_concurrent, callback_url, stopped, created_at
  FROM batches WHERE id = $1

-- name: page
-- Ids are UUIDv7: they sort by creation.
SELECT id, name, jobs, sequential, stop_on_failure, max_concurrent, callback_url, stopped, created_at
  FROM batches
 WHERE $1::uuid IS NULL OR id < $1
 ORDER BY id DESC
 LIMIT $2

-- name: counts
SELECT batch_id, status, count(*) AS jobs, count(*) FILTER (WHERE finished_at IS NULL) AS unfinished,
       max(finished_at) AS last_end
  FROM jobs
 WHERE batch_id = ANY ($1::uuid[])
 GROUP BY batch_id, status

-- name: jobs
SELECT id, type, status, progress FROM jobs WHERE batch_id = $1 ORDER BY created_at, id LIMIT $2
