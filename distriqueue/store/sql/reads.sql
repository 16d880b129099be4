-- Statements of distriqueue/store/reads.py that have no optional parts.

-- name: job
SELECT id, type, priority, status, attempt, failures, losses, max_retries, execution_timeout_s, cancel_requested, worker_id,
       progress, progress_message, created_at, ready_at, due_at, expires_at, queued_at, started_at, finished_at, batch_id,
       schedule_name, schedule_fire_at, unique_key, concurrency_key, concurrency_limit, callback_url,
       CASE WHEN has_parents
            THEN ARRAY (SELECT parent_id FROM dependencies WHERE child_id = jobs.id ORDER BY place) ELSE '{}' END AS depends_on,
       tags, retry_policy, metadata, payload, result, error
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

-- name: has_id_between
SELECT EXISTS (SELECT 1 FROM jobs WHERE id BETWEEN $1 AND $2)
