-- Statements of distriqueue/store/followups.py.

-- name: follow_up
SELECT follow_up($1::uuid[], $2) AS id

-- name: admit
SELECT admit($1::text[]) AS id

-- name: dispatches
SELECT id, attempt, type, priority, payload, execution_timeout_s, trace
  FROM jobs WHERE id = ANY ($1::uuid[]) AND status || '' = 'pending' AND ready_at <= now()
