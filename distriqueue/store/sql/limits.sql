-- Statements of distriqueue/store/limits.py.

-- name: all
SELECT type, permits, per_s,
       least(permits, tokens + greatest(0, extract(epoch FROM clock_timestamp() - filled_at)) * permits / per_s) AS tokens
  FROM rate_limits ORDER BY type

-- name: put
INSERT INTO rate_limits AS l (type, permits, per_s, tokens) VALUES ($1, $2::int, $3, $2::int)
    ON CONFLICT (type) DO UPDATE
   SET permits = excluded.permits, per_s = excluded.per_s, filled_at = clock_timestamp(), next_slot = clock_timestamp(),
       tokens = least(excluded.permits,
                      l.tokens + greatest(0, extract(epoch FROM clock_timestamp() - l.filled_at)) * l.permits / l.per_s)
RETURNING type, permits, per_s, tokens

-- name: delete
DELETE FROM rate_limits WHERE type = $1 RETURNING type

-- name: free
-- Found by their lanes' order: those that wait for a slot are pending, and ready at it.
UPDATE jobs j SET rate_slot = NULL, ready_at = now()
  FROM (SELECT id FROM jobs
         WHERE status = 'pending' AND type = $1 AND rate_slot IS NOT NULL AND ready_at > now()
         ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) AS waiting
 WHERE j.id = waiting.id
RETURNING j.id
