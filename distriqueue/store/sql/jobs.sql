-- Statements of distriqueue/store/jobs.py.
--
-- `j.status || '' = …` rather than `j.status = …`: rows are found by id. Written plainly, the planner may prefer a partial
-- index on the status, whose every entry it then visits for each row of the batch: fast when empty, ruinous under backlog.

-- name: insert
-- Server-made ids: one that exists already was stored by an earlier try of this same batch whose answer was lost.
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, due_at, batch_id, tags, metadata, payload)
SELECT id, type, priority, CASE WHEN due_at > now() THEN 'scheduled' ELSE 'pending' END,
       max_retries, execution_timeout_s, due_at, batch_id, CAST(tags AS text[]), CAST(metadata AS json), CAST(payload AS json)
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::float8[], $6::timestamptz[], $7::uuid[],
              $8::text[], $9::text[], $10::text[])
       AS r(id, type, priority, max_retries, execution_timeout_s, due_at, batch_id, tags, metadata, payload)
    ON CONFLICT (id) DO NOTHING
RETURNING id, created_at, status

-- name: stored
SELECT id, created_at, status FROM jobs WHERE id = ANY ($1::uuid[])

-- name: mark_queued
UPDATE jobs j SET status = 'queued', queued_at = now()
  FROM unnest($1::uuid[], $2::int[]) AS r(id, attempt)
 WHERE j.id = r.id AND j.attempt = r.attempt AND j.status || '' = 'pending'
RETURNING j.id

-- name: cancel
UPDATE jobs j
   SET status = CASE WHEN j.status = 'running' THEN j.status ELSE 'cancelled' END,
       finished_at = CASE WHEN j.status = 'running' THEN NULL ELSE now() END,
       cancel_requested = true
 WHERE j.id = $1 AND j.finished_at IS NULL
RETURNING j.status

-- name: retry
WITH retried AS (
    UPDATE jobs j
       SET status = 'pending', attempt = j.attempt + 1, failures = 0, losses = 0, cancel_requested = false,
           ready_at = now(), worker_id = NULL, progress = NULL, queued_at = NULL, started_at = NULL, finished_at = NULL
      FROM jobs before
     WHERE before.id = j.id AND j.id = $1 AND j.status IN ('failed', 'timeout', 'cancelled')
    RETURNING j.id, j.attempt, j.type, j.priority, j.payload, j.execution_timeout_s, before.attempt AS ended_attempt,
              before.worker_id, before.started_at, before.finished_at, before.status AS outcome, before.error
), archived AS (
    INSERT INTO attempts (job_id, attempt, worker_id, started_at, finished_at, outcome, error)
    SELECT id, ended_attempt, worker_id, started_at, finished_at, outcome, error
      FROM retried WHERE started_at IS NOT NULL
)
SELECT id, attempt, type, priority, payload, execution_timeout_s FROM retried
