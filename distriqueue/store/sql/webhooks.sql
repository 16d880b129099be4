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
WITH of_jobs AS (
    INSERT INTO dependencies (parent_id, child_id, place, needed, resolved)
    SELECT parent_id, $2, place, needed, resolved FROM dependencies WHERE child_id = $1
)
INSERT INTO batch_webhooks (batch_id, webhook_id) SELECT batch_id, $2 FROM batch_webhooks WHERE webhook_id = $1
