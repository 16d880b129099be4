-- Statements of distriqueue/store/batches.py.

-- name: batch
SELECT id, name, jobs, sequential, stop_on_failure, max_concurrent, callback_url, stopped, created_at
  FROM batches WHERE id = $1

-- name: counts
SELECT status, count(*) AS jobs, count(*) FILTER (WHERE finished_at IS NULL) AS unfinished, max(finished_at) AS last_end
  FROM jobs WHERE batch_id = $1 GROUP BY status

-- name: jobs
SELECT id, type, status, progress FROM jobs WHERE batch_id = $1 ORDER BY created_at, id LIMIT $2
