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
