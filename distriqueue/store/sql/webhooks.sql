-- Statements of distriqueue/store/webhooks.py.

-- name: of_job
SELECT w.id, w.status, w.attempt, w.max_retries, w.created_at, w.due_at, w.finished_at, w.payload, w.result, w.error
  FROM dependencies d JOIN jobs w ON w.id = d.child_id
 WHERE d.parent_id = $1 AND w.type = 'distriqueue.webhook'
 ORDER BY w.created_at DESC, w.id DESC
 LIMIT $2

-- name: of_batch
SELECT w.id, w.status, w.attempt, w.max_retries, w.created_at, w.due_at, w.finished_at, w.payload, w.result, w.error
  FROM batch_webhooks b JOIN jobs w ON w.id = b.webhook_id
 WHERE b.batch_id = $1
 ORDER BY w.created_at DESC, w.id DESC
 LIMIT $2

-- name: replay
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, retry_policy, payload)
SELECT new_job_id(), type, priority, 'pending', max_retries, execution_timeout_s, retry_policy, payload
  FROM jobs WHERE id = $1 AND type = 'distriqueue.webhook'
RETURNING id, status, attempt, max_retries, created_at, due_at, finished_at, payload, result, error

-- name: link
-- To what the first one was of, unless retention is just deleting that.
WITH of_jobs AS (
    INSERT INTO dependencies (parent_id, child_id, place, needed, resolved)
    SELECT d.parent_id, $2, d.place, d.needed, d.resolved
      FROM dependencies d JOIN jobs p ON p.id = d.parent_id WHERE d.child_id = $1 FOR KEY SHARE OF p
)
INSERT INTO batch_webhooks (batch_id, webhook_id)
SELECT w.batch_id, $2 FROM batch_webhooks w JOIN batches b ON b.id = w.batch_id WHERE w.webhook_id = $1 FOR KEY SHARE OF b

-- name: attempts
-- The newest $2 of each, without tracebacks; see `attempts` in reads.sql.
SELECT w.id, a.attempt, a.worker_id, a.started_at, a.finished_at, a.outcome,
       CASE WHEN a.error IS NOT NULL THEN json_build_object('type', a.error->'type', 'message', a.error->'message') END AS error
  FROM unnest($1::uuid[]) AS w(id)
 CROSS JOIN LATERAL (
       SELECT attempt, worker_id, started_at, finished_at, outcome, error FROM attempts WHERE job_id = w.id
        UNION ALL
       SELECT j.attempt, j.worker_id, j.started_at, j.finished_at, j.status, j.error
         FROM jobs j
        WHERE j.id = w.id AND j.started_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM attempts b WHERE b.job_id = j.id AND b.attempt = j.attempt)
        ORDER BY attempt DESC
        LIMIT $2) AS a
 ORDER BY w.id, a.attempt
