-- Statements of distriqueue/store/schedules.py. Whether a fire time has come is the database's to say: now().

-- name: now
SELECT now() AS at

-- name: create
INSERT INTO schedules (name, cron, timezone, type, priority, payload, max_retries, execution_timeout_s, tags, overlap,
                       misfire_grace_s, paused, next_fire)
VALUES ($1, $2, $3, $4, $5, CAST($6 AS json), $7, $8, $9::text[], $10, $11, $12, $13)
    ON CONFLICT (name) DO NOTHING
RETURNING *

-- name: get
SELECT * FROM schedules WHERE name = $1

-- name: lock
SELECT *, now() AS at FROM schedules WHERE name = $1 FOR UPDATE

-- name: page
SELECT name, cron, timezone, type, priority, CASE WHEN pg_column_size(payload) <= $3 THEN payload END AS payload,
       max_retries, execution_timeout_s, tags, overlap, misfire_grace_s, paused, next_fire, last_fire, last_job_id,
       fired, missed, overlapped, error, created_at, updated_at
  FROM schedules
 WHERE name > $1
 ORDER BY name
 LIMIT $2

-- name: update
UPDATE schedules
   SET cron = $2, timezone = $3, type = $4, priority = $5, payload = CAST($6 AS json), max_retries = $7,
       execution_timeout_s = $8, tags = $9::text[], overlap = $10, misfire_grace_s = $11, paused = $12, next_fire = $13,
       error = NULL, updated_at = now()
 WHERE name = $1
RETURNING *

-- name: delete
DELETE FROM schedules WHERE name = $1 RETURNING name

-- name: next_due
SELECT CAST(extract(epoch FROM min(next_fire) - now()) AS float8) AS in_s
  FROM schedules
 WHERE NOT paused AND next_fire IS NOT NULL

-- name: due
SELECT s.*, now() AS at,
       s.overlap = 'skip' AND EXISTS (SELECT 1 FROM jobs j WHERE j.schedule_name = s.name AND j.finished_at IS NULL) AS busy
  FROM schedules s
 WHERE NOT s.paused AND s.next_fire <= now()
 ORDER BY s.next_fire
 LIMIT $1
   FOR UPDATE OF s SKIP LOCKED

-- name: fire
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, tags, payload, schedule_name, schedule_fire_at)
SELECT r.id, s.type, s.priority, 'pending', s.max_retries, s.execution_timeout_s, s.tags, s.payload, s.name, r.fire_at
  FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS r(id, name, fire_at)
  JOIN schedules s ON s.name = r.name
    ON CONFLICT (schedule_name, schedule_fire_at) WHERE schedule_name IS NOT NULL DO NOTHING
RETURNING id, attempt, type, priority, payload, execution_timeout_s, schedule_name, schedule_fire_at

-- name: advance
UPDATE schedules s
   SET next_fire = r.next_fire, last_fire = coalesce(r.last_fire, s.last_fire),
       last_job_id = coalesce(r.last_job_id, s.last_job_id),
       fired = s.fired + r.fired, missed = s.missed + r.missed, overlapped = s.overlapped + r.overlapped, error = r.error
  FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::int[], $6::int[], $7::int[], $8::text[])
       AS r(name, next_fire, last_fire, last_job_id, fired, missed, overlapped, error)
 WHERE s.name = r.name

-- name: busy
SELECT id FROM jobs WHERE schedule_name = $1 AND finished_at IS NULL LIMIT 1

-- name: run
-- The caller holds the schedule's row. A fire is of a whole second: what is run by hand never takes the place of one.
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, tags, payload, schedule_name, schedule_fire_at)
SELECT $1, s.type, s.priority, 'pending', s.max_retries, s.execution_timeout_s, s.tags, s.payload, s.name,
       greatest(clock_timestamp(), date_trunc('second', clock_timestamp()) + interval '1 microsecond')
  FROM schedules s
 WHERE s.name = $2
RETURNING id, attempt, type, priority, payload, execution_timeout_s
