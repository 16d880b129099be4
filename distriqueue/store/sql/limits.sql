-- Statements of distriqueue/store/limits.py. What waits for a token is pending and has a `rate_slot`: see `throttle`.

-- name: all
SELECT type, permits, per_s,
       least(permits, tokens + greatest(0, extract(epoch FROM clock_timestamp() - filled_at)) * permits / per_s) AS tokens
  FROM rate_limits ORDER BY type

-- name: put
INSERT INTO rate_limits AS l (type, permits, per_s, tokens) VALUES ($1, $2::int, $3, $2::int)
    ON CONFLICT (type) DO UPDATE
   SET permits = excluded.permits, per_s = excluded.per_s, filled_at = clock_timestamp(),
       tokens = least(excluded.permits,
                      l.tokens + greatest(0, extract(epoch FROM clock_timestamp() - l.filled_at)) * l.permits / l.per_s)
RETURNING type, permits, per_s, tokens

-- name: hasten
-- The next $5 of those that wait, from the slot ($2, $3) on, after $4 others: none need wait longer than the new limit asks.
WITH here AS MATERIALIZED (
    SELECT * FROM rate_limits WHERE type = $1 FOR UPDATE
), line AS MATERIALIZED (
    SELECT j.id, j.rate_slot, $4::bigint + row_number() OVER (ORDER BY j.rate_slot, j.id) AS place
      FROM (SELECT id, rate_slot FROM jobs
             WHERE type = $1 AND finished_at IS NULL AND (rate_slot, id) > ($2::timestamptz, $3::uuid)
             ORDER BY rate_slot, id LIMIT $5) AS j
), sooner AS MATERIALIZED (
    SELECT line.id, now() + make_interval(secs => greatest(0, line.place - here.tokens) * here.per_s / here.permits) AS slot
      FROM line CROSS JOIN here
), locked AS MATERIALIZED (
    SELECT j.id, sooner.slot FROM jobs j JOIN sooner ON sooner.id = j.id
     WHERE j.status || '' = 'pending' AND j.rate_slot > sooner.slot
     ORDER BY j.id FOR UPDATE OF j
), moved AS (
    UPDATE jobs j SET rate_slot = locked.slot, ready_at = locked.slot - interval '1 s'
      FROM locked WHERE j.id = locked.id AND j.status || '' = 'pending' AND j.rate_slot > locked.slot
    RETURNING j.id
), ended AS (
    UPDATE rate_limits l SET next_slot = sooner.slot FROM (SELECT max(slot) AS slot FROM sooner) AS sooner
     WHERE l.type = $1 AND sooner.slot IS NOT NULL
)
SELECT rate_slot, id, place FROM line ORDER BY rate_slot DESC, id DESC LIMIT 1

-- name: delete
DELETE FROM rate_limits WHERE type = $1 RETURNING type

-- name: free
-- The next $2 of those that wait for slots of a limit that is no more.
WITH waiting AS MATERIALIZED (
    SELECT id FROM jobs
     WHERE type = $1 AND rate_slot IS NOT NULL AND finished_at IS NULL AND status = 'pending'
     ORDER BY rate_slot, id LIMIT $2
), locked AS MATERIALIZED (
    SELECT j.id FROM jobs j JOIN waiting ON waiting.id = j.id
     WHERE j.status || '' = 'pending' AND NOT EXISTS (SELECT FROM rate_limits l WHERE l.type = $1)
     ORDER BY j.id FOR UPDATE OF j
)
UPDATE jobs j SET rate_slot = NULL, ready_at = least(j.ready_at, now())
  FROM locked WHERE j.id = locked.id AND j.status || '' = 'pending'
RETURNING j.id
