-- Statements of distriqueue/store/leadership.py: who leads.

-- name: claim
-- The same process may claim the same epoch again: its first answer was lost.
UPDATE leadership SET epoch = $1, node = $2, boot = $3, claimed_at = now()
 WHERE epoch < $1 OR (epoch = $1 AND boot = $3)
RETURNING epoch

-- name: remember
INSERT INTO leadership_history (epoch, node, boot) VALUES ($1, $2, $3) ON CONFLICT (epoch) DO NOTHING

-- name: observe
SELECT epoch FROM leadership

-- name: end_others
-- A leader that froze in the middle of a transaction holds row locks, and SKIP LOCKED would hide those rows
-- from the new one. Does not wait until they are gone, as Postgres would look only every 100 ms, one after the other:
-- they are within milliseconds, and what the first run of a duty still skips, the next one finds.
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) AS ended
  FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user
   AND starts_with(application_name, $1) AND application_name <> $2
