-- Statements of distriqueue/store/reads.py that have no optional parts.

-- name: job
SELECT id, type, priority, status, attempt, failures, losses, max_retries, execution_timeout_s, cancel_requested, worker_id,
       progress, created_at, ready_at, due_at, queued_at, started_at, finished_at, batch_id, tags, metadata, payload, result,
       error
  FROM jobs WHERE id = $1

-- name: attempts
SELECT attempt, worker_id, started_at, finished_at, outcome, error
  FROM attempts WHERE job_id = $1
 UNION ALL
SELECT j.attempt, j.worker_id, j.started_at, j.finished_at, j.status, j.error
  FROM jobs j
 WHERE j.id = $1 AND j.started_at IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.attempt = j.attempt)
 ORDER BY attempt

-- name: statistics
SELECT status, type, priority, worker_id, date_trunc('hour', finished_at) AS hour,
       grouping(status, type, priority, worker_id, date_trunc('hour', finished_at)) AS absent,
       count(*) AS jobs,
       count(*) FILTER (WHERE status = 'completed') AS completed,
       count(*) FILTER (WHERE status IN ('failed', 'timeout')) AS failed,
       (1000 * extract(epoch FROM avg(started_at - ready_at) FILTER (WHERE started_at >= ready_at)))::float8 AS queue_ms,
       (1000 * extract(epoch FROM avg(finished_at - started_at) FILTER (WHERE status = 'completed')))::float8 AS execution_ms
  FROM jobs
 WHERE created_at >= $1 AND created_at < $2
 GROUP BY GROUPING SETS ((), (status), (type), (priority), (worker_id), (date_trunc('hour', finished_at)))
